-- KEYS: hub, index, the channel's four, key. ARGV: those of `enter_hub`, those of `held_of`, how long a channel is remembered, feed,
-- bytes, client, id, last, overhead, window, exception.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local feed, data, client, id, is_last = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local overhead, window, except = tonumber(ARGV[12]), ARGV[13], ARGV[14]
local h, other = enter_hub(hub)
if not h then return other end
if window ~= '' then
  local before = redis.call('GET', KEYS[7])
  if before then return { 'before', before } end
end
local now = clock()
local c = enter_channel(hub, k, index, h, now)
local held = limits((held_of(hub, h, k.meta, c, now, ARGV[4], ARGV[5], true)))
-- How long events are held, and how long the channel is remembered.
local function lives(is_finished)
  local age, _, is_whole = terms(held, is_finished)
  c.whole = is_whole
  if age >= FOREVER then return math.huge, '' end
  return age, age + tonumber(ARGV[6])
end
local age = lives(c.finished)
evict(k, c, now, age, math.huge, math.huge, overhead)
if c.finished then
  save(k, c, {})
  return { 'finished' }
end
-- What a reader sees has each id once: its client's events, and the broadcasts.
local own, everybodys, anybodys = client .. '\0' .. id, '\0' .. id, '\0\0' .. id
if id ~= '' then
  for _, at in ipairs(redis.call('HMGET', k.ids, own, client == '' and anybodys or everybodys)) do
    -- Those of evicted events may still be there.
    if at and tonumber(at) > c.evicted then
      save(k, c, {})
      return { 'duplicate' }
    end
  end
end

if c.last > 0 and c.last < h.lost then lose(k, c, h.lost) end

local life
age, life = lives(is_last == '1')

-- The index of times: about sixty-four of them for the longest life.
if life ~= '' then
  local longest, written = math.max(life, h.longest), h.written
  if written > now then
    -- The clock has gone back. What was to be given later than now has been given by now.
    redis.call('ZREMRANGEBYSCORE', index, '(' .. text(now), '+inf')
    written = 0
  end
  if now - written >= math.max(1000, math.floor(longest / 64)) then
    redis.call('ZADD', index, text(now), text(now) .. ':' .. text(h.last))
    redis.call('ZREMRANGEBYSCORE', index, '-inf', text(now - 2 * longest))
    redis.call('HSET', hub, 'w', text(now), 'y', text(longest))
    redis.call('PEXPIREAT', index, text(now + 2 * longest))
  end
end

remember_life(hub, h, now, life)
local offset = text(redis.call('HINCRBY', hub, 'n', 1))
local previous, before = text(c.last), c.broadcast
if client == '' then
  c.broadcast = tonumber(offset)
else
  before = tonumber(redis.call('ZSCORE', k.clients, client) or c.others)
  c.targeted = true
  if redis.call('ZADD', k.clients, offset, client) == 1 and redis.call('ZCARD', k.clients) > MARKS then
    -- Who got something least lately is remembered with all others.
    c.others = math.max(c.others, tonumber(redis.call('ZPOPMIN', k.clients)[2]))
  end
end
local exception = except ~= '' and { 'x', except } or {}
redis.call('XADD', k.stream, offset .. '-0', 'd', data, 'c', client, 'i', id, 'p', previous, 't', now, 'w', before,
  unpack(exception))
if c.events == 0 then c.oldest = now end
c.events, c.bytes = c.events + 1, c.bytes + cost(offset, #data, id, overhead)
c.last, c.time = tonumber(offset), now
if id ~= '' then
  redis.call('HSET', k.ids, own, offset)
  if client ~= '' then redis.call('HSET', k.ids, anybodys, offset) end
  keep(k.ids, life == '' and '' or age + 1000)
end
local _, most = terms(held, false)
evict(k, c, now, math.huge, most, held[2], overhead)
save(k, c, is_last == '1' and { 'l', offset, 't', now, 'f', '1' } or { 'l', offset, 't', now })
-- The marks of what is too old are made before it is gone, or from what is remembered of it.
keep(k.stream, life == '' and '' or age + 1000)
keep_channel(k, c, life)
keep_hub(hub, index, h, now, life)
if window ~= '' then redis.call('SET', KEYS[7], h.epoch .. ' ' .. offset .. ' ' .. id, 'PX', window) end
push(h, feed, 'E ' .. h.epoch .. ' ' .. offset .. ' ' .. previous .. ' ' .. is_last .. ' ' .. #client
  .. ' ' .. #id .. ' ' .. #except .. '\n' .. client .. id .. except .. data)
return { 'at', offset }
