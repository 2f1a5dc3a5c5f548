-- KEYS: hub, index, stream, meta, key. ARGV: epoch, feed, bytes, client, id, events, max bytes, age, life, last,
-- overhead, window, the highest offset that the node knows to have been given, an epoch for when it was lost.
local hub, index, stream, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local client, id, age, life, overhead = ARGV[4], ARGV[5], ARGV[8], ARGV[9], tonumber(ARGV[11])
local h = redis.call('HMGET', hub, 'e', 'n', 'x', 'w', 'y')
if h[1] ~= ARGV[1] then return { 'epoch', h[1] or '' } end
if tonumber(ARGV[13]) > tonumber(h[2]) then
  -- None is given again: who has seen the lost one would take the other for it, or never get it.
  renew(hub, ARGV[14])
  return { 'epoch', ARGV[14] }
end
if ARGV[12] ~= '' then
  local before = redis.call('GET', KEYS[5])
  if before then return { 'before', before } end
end
local now = clock()
local c = enter_channel(meta, index, h[2], now, life)
miss(stream, meta, c)
evict(stream, meta, c, now, age, math.huge, math.huge, overhead)
local lane = client == '' and 'lb' or 'h:' .. client
local own = 'u:' .. client .. '\0' .. id
if c.finished then
  save(meta, c)
  return { 'finished' }
end
if id ~= '' and redis.call('HEXISTS', meta, own) == 1 then
  save(meta, c)
  return { 'duplicate' }
end

-- The index of times: about sixty-four of them for the longest life.
if life ~= '' then
  local longest, written = math.max(tonumber(life), tonumber(h[5] or '0')), tonumber(h[4] or '0')
  if written > now then
    -- The clock has gone back. What was to be given later than now has been given by now.
    redis.call('ZREMRANGEBYSCORE', index, '(' .. text(now), '+inf')
    written = 0
  end
  if now - written >= math.max(1000, math.floor(longest / 64)) then
    redis.call('ZADD', index, text(now), text(now) .. ':' .. h[2])
    redis.call('ZREMRANGEBYSCORE', index, '-inf', text(now - 2 * longest))
    redis.call('HSET', hub, 'w', text(now), 'y', text(longest))
    redis.call('PEXPIREAT', index, text(now + 2 * longest))
  end
end

local offset = text(redis.call('HINCRBY', hub, 'n', 1))
local previous = c.last
redis.call('XADD', stream, offset .. '-0', 'd', ARGV[3], 'c', client, 'i', id, 'p', previous, 't', text(now))
if c.events == 0 then c.oldest = now end
c.events, c.bytes, c.time = c.events + 1, c.bytes + cost(offset, #ARGV[3], id, overhead), now
redis.call('HSET', meta, 'l', offset, 't', text(now), 'a', age)
if redis.call('HSET', meta, lane, offset) == 1 and client ~= '' and redis.call('HINCRBY', meta, 'k', 1) > MARKS then
  fold(meta)
  redis.call('HSET', meta, lane, offset)
end
if id ~= '' then redis.call('HSET', meta, own, offset) end
if ARGV[10] == '1' then redis.call('HSET', meta, 'f', '1') end
evict(stream, meta, c, now, '', tonumber(ARGV[6]), tonumber(ARGV[7]), overhead)
save(meta, c)
if age == '' then
  redis.call('PERSIST', stream)
  redis.call('PERSIST', meta)
else
  -- The marks of what is too old are made before it is gone, or from what is remembered of it.
  redis.call('PEXPIRE', stream, tonumber(age) + 1000)
  redis.call('PEXPIRE', meta, tonumber(life))
end
keep_hub(hub, index, h[3], now, life)
if ARGV[12] ~= '' then redis.call('SET', KEYS[5], offset, 'PX', ARGV[12]) end
redis.call('PUBLISH', ARGV[2], 'E ' .. h[1] .. ' ' .. offset .. ' ' .. previous .. ' ' .. ARGV[10] .. ' ' .. #client
  .. ' ' .. #id .. '\n' .. client .. id .. ARGV[3])
return { 'at', offset }
