-- What the scripts share. All numbers that become text are whole and below 2^53, where Lua's doubles are exact.

local MARKS = 10000

local function text(number)
  return string.format('%.0f', number)
end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The hub lives as long as the longest lived of its channels: for `life` from now, or for ever.
-- `until_` is what its field `x` says already.
local function keep_hub(hub, index, until_, now, life)
  if until_ == 'ever' then return end
  if life == '' then
    redis.call('HSET', hub, 'x', 'ever')
    redis.call('PERSIST', hub)
    redis.call('PERSIST', index)
    return
  end
  life = tonumber(life)
  if not until_ or tonumber(until_) < now + life then
    local longer = life + math.floor(life / 8) + 1000
    redis.call('HSET', hub, 'x', text(now + longer))
    redis.call('PEXPIRE', hub, longer)
    redis.call('PEXPIRE', index, longer)
  end
end

-- The hub's epoch, last offset and life; made if it is not there.
local function enter_hub(hub, index, candidate, now, life)
  local h = redis.call('HMGET', hub, 'e', 'n', 'x')
  if not h[1] then
    h = { candidate, '0', false }
    redis.call('HSET', hub, 'e', candidate, 'n', '0')
  end
  keep_hub(hub, index, h[3], now, life)
  return h
end

-- Begins a new epoch.
local function renew(hub, epoch)
  redis.call('HSET', hub, 'e', epoch)
  -- Its index of times begins anew too, with the next event: until then all that was given counts as missed.
  redis.call('HDEL', hub, 'w')
end

-- The highest offset that a channel can have had of which nothing is remembered: it had its last event more than `life`
-- ago. The index has times, and the offset that had been given last by then.
local function watermark(index, last, now, life)
  if life == '' then return 0 end
  local after = redis.call('ZRANGEBYSCORE', index, '(' .. text(now - tonumber(life)), '+inf', 'LIMIT', 0, 1)[1]
  if not after then return tonumber(last) end
  return tonumber(string.match(after, ':(%d+)$'))
end

-- What is known of a channel, made if nothing is.
local function enter_channel(meta, index, last, now, life)
  local m = redis.call('HMGET', meta, 'l', 'f', 'b', 'n', 't', 'q', 'a')
  if not m[1] then
    local mark = watermark(index, last, now, life)
    if mark > 0 then redis.call('HSET', meta, 'eb', text(mark), 'o', text(mark)) end
    redis.call('HSET', meta, 'l', '0')
    m[1] = '0'
  end
  return {
    last = m[1], finished = m[2] == '1', bytes = tonumber(m[3] or '0'), events = tonumber(m[4] or '0'),
    time = tonumber(m[5] or '0'), oldest = tonumber(m[6] or '0'),
  }
end

-- Too many clients are known of a channel: one number stands for them.
local function fold(meta)
  local all, evicted, last = redis.call('HGETALL', meta), 0, 0
  for i = 1, #all, 2 do
    local kind, value = string.sub(all[i], 1, 2), tonumber(all[i + 1])
    if kind == 'e:' or kind == 'h:' then redis.call('HDEL', meta, all[i]) end
    if kind == 'e:' or all[i] == 'o' then evicted = math.max(evicted, value) end
    if kind == 'h:' or all[i] == 'ho' then last = math.max(last, value) end
  end
  redis.call('HSET', meta, 'o', text(evicted), 'ho', text(last), 'k', '0')
end

-- All of a channel is evicted: each lane's mark is its last offset.
local function evict_all(stream, meta, c)
  local all = redis.call('HGETALL', meta)
  local others, last = 0, 0
  for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    local kind = string.sub(field, 1, 2)
    if kind == 'h:' then
      redis.call('HSET', meta, 'e:' .. string.sub(field, 3), value)
    elseif kind == 'u:' then
      redis.call('HDEL', meta, field)
    elseif field == 'lb' then
      redis.call('HSET', meta, 'eb', value)
    elseif field == 'o' then
      others = tonumber(value)
    elseif field == 'ho' then
      last = tonumber(value)
    end
  end
  if last > others then redis.call('HSET', meta, 'o', text(last)) end
  redis.call('DEL', stream)
  c.bytes, c.events = 0, 0
end

-- A stream may be gone though none of its events is known to be too old: by somebody's hand, or because the clock was
-- ahead for a while. Then they are evicted.
local function miss(stream, meta, c)
  if c.events > 0 and redis.call('XLEN', stream) == 0 then evict_all(stream, meta, c) end
end

-- What an event counts, with its id's line.
local function cost(offset, bytes, id, overhead)
  if id ~= '' then return bytes + 6 + #id + overhead end
  return bytes + 19 + #offset + overhead
end

-- Evicts what is too old, and what is too much; the newest is never too much.
local function evict(stream, meta, c, now, age, max_events, max_bytes, overhead)
  if age ~= '' and c.events > 0 and now - c.time > tonumber(age) then
    return evict_all(stream, meta, c)
  end
  local function too_old(time) return age ~= '' and now - time > tonumber(age) end
  local function too_much() return c.events > 1 and (c.events > max_events or c.bytes > max_bytes) end
  if not too_old(c.oldest) and not too_much() then return end
  while c.events > 0 do
    local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not entry then return evict_all(stream, meta, c) end
    local offset, f = string.match(entry[1], '^%d+'), entry[2]
    c.oldest = tonumber(f[10])
    if not too_old(c.oldest) and not too_much() then break end
    if f[4] == '' then
      redis.call('HSET', meta, 'eb', offset)
    else
      redis.call('HSET', meta, 'e:' .. f[4], offset)
    end
    if f[6] ~= '' then redis.call('HDEL', meta, 'u:' .. f[4] .. '\0' .. f[6]) end
    redis.call('XDEL', stream, entry[1])
    c.events = c.events - 1
    c.bytes = c.bytes - cost(offset, #f[2], f[6], overhead)
  end
end

local function save(meta, c)
  redis.call('HSET', meta, 'b', text(c.bytes), 'n', text(c.events), 'q', text(c.oldest))
end
