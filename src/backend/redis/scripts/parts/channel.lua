-- Channels.

-- The number of clients of which a channel remembers the last event.
local MARKS = 10000
-- About how many events, and how many bytes of them, one call evicts. Later calls evict the rest.
local SLICE, WEIGHT = 200, 1048576

-- Remembers that a channel is known for `life` from now. The hub keeps three values about these lives: the time since
-- which they are observed, the shortest one since then, and the shortest one of the period before. A period is as long
-- as the longest life.
local function remember_life(hub, h, now, life)
  if life == '' then return end
  local is_over = now - h.since > math.max(h.longest, life)
  if h.since == 0 then
    redis.call('HSET', hub, 'm1', text(now), 'm2', text(life), 'm3', text(life))
  elseif is_over then
    redis.call('HSET', hub, 'm1', text(now), 'm2', text(life), 'm3', text(h.shortest))
  elseif life < h.shortest then
    redis.call('HSET', hub, 'm2', text(life))
  end
end

-- Returns the highest offset that a forgotten channel can have had. Its last event is older than the shortest life of a
-- channel. The index holds times, and the offset that had been given last by each of them. If keys may have been
-- evicted, the result may be as high as the hub's last offset.
local function unremembered(hub, index, h, now)
  local known = redis.call('HMGET', hub, 'v', 'z', 'm3')
  if evicted_keys() ~= (known[1] or '0') then return h.last end
  local doubted = tonumber(known[2] or 0)
  if h.since == 0 then return doubted end
  local before = now - math.min(h.shortest, tonumber(known[3]))
  local after = redis.call('ZRANGEBYSCORE', index, '(' .. text(before), '+inf', 'LIMIT', 0, 1)[1]
  return math.max(doubted, after and tonumber(string.match(after, ':(%d+)$')) or h.last)
end

-- Returns a channel's keys, in the order in which every script gets them.
local function channel_keys(first)
  return { stream = KEYS[first], meta = KEYS[first + 1], ids = KEYS[first + 2], clients = KEYS[first + 3] }
end

-- Creates a channel without any event.
local function empty_channel(mark)
  return {
    last = 0, finished = false, bytes = 0, events = 0, time = 0, oldest = 0, evicted = mark, broadcast = mark,
    others = mark, targeted = false, closed = '0', closed_at = 0, since = mark,
  }
end

-- Returns what is known of a channel, or nil if the store remembers nothing of it. `since` is the offset after which
-- the channel began. If a channel was closed, `closed_at` is the offset of its last event up to then. If a channel
-- belongs to a hub that was lost, only three things about it count: whether it is finished, how often it was closed,
-- and the highest fence.
local function look_at(k, h)
  local m =
    redis.call('HMGET', k.meta, 'l', 'f', 'b', 'n', 't', 'q', 'x', 'w', 'o', 'k', 'c', 'd', 'r', 'z', 'e', 'a')
  if not m[1] then return nil end
  if m[12] ~= h.birth then
    local c = empty_channel(0)
    c.finished, c.closed, c.fence, c.foreign = m[2] == '1', m[11] or '0', m[15], true
    return c
  end
  local c = {
    last = tonumber(m[1]), finished = m[2] == '1', bytes = tonumber(m[3] or '0'), events = tonumber(m[4] or '0'),
    time = tonumber(m[5] or '0'), oldest = tonumber(m[6] or '0'), evicted = tonumber(m[7] or '0'),
    broadcast = tonumber(m[8] or '0'), others = tonumber(m[9] or '0'), targeted = m[10] == '1', closed = m[11] or '0',
    most = m[13], closed_at = tonumber(m[14] or 0), fence = m[15], since = tonumber(m[16] or '0'),
  }
  -- The channel's other keys may be gone before their time, because they were deleted or the clock was ahead for a
  -- while. What was in them then counts as evicted.
  if c.events > 0 and redis.call('XLEN', k.stream) == 0 then c.lost = true end
  if c.targeted and redis.call('EXISTS', k.clients) == 0 then
    c.targeted, c.others = false, c.last
  end
  if c.lost then c.evicted = math.max(c.evicted, c.last) end
  return c
end

-- Returns the highest offset that a channel may have had of which nothing is remembered. If only its stream is there,
-- that is the hub's last offset.
local function forgotten(hub, k, index, h, now)
  if redis.call('EXISTS', k.stream) == 1 then return h.last end
  return unremembered(hub, index, h, now)
end

-- Evicts everything of a channel.
local function cut(k, c)
  redis.call('UNLINK', k.stream, k.ids)
  c.evicted, c.bytes, c.events = math.max(c.evicted, c.last), 0, 0
end

-- Counts everything up to `mark` as evicted, for all readers, because the last of the channel's events may be lost.
local function lose(k, c, mark)
  redis.call('UNLINK', k.stream, k.ids, k.clients)
  c.last, c.evicted, c.broadcast, c.others, c.targeted = mark, mark, mark, mark, false
  c.bytes, c.events = 0, 0
end

-- Returns what is known of a channel, and creates the channel if nothing is.
local function enter_channel(hub, k, index, h, now)
  local c = look_at(k, h)
  if not c or c.foreign then
    c = c or empty_channel(forgotten(hub, k, index, h, now))
    -- Comes first, since Redis refuses this when memory is used up.
    redis.call('HSET', k.meta, 'l', '0', 'd', h.birth, 'z', '0', 'a', text(c.since))
    redis.call('UNLINK', k.stream, k.ids, k.clients)
  elseif c.lost then
    cut(k, c)
  end
  return c
end

-- Returns what an event counts, with the line of its id.
local function cost(offset, bytes, id, overhead)
  if id ~= '' then return bytes + 6 + #id + overhead end
  return bytes + 19 + #offset + overhead
end

-- Evicts an event of a channel's stream. Adds its custom id to `ids`. If the event is for one client, also adds the id
-- that is kept for all clients to `anybodys`, with the event's offset. The event's idempotency key is known for no
-- longer than the window from now on.
local function evict_one(k, c, entry, ids, anybodys, overhead)
  local offset, f = string.match(entry[1], '^%d+'), entry[2]
  local data, client, id = f[2] or '', f[4] or '', f[6] or ''
  if id ~= '' then ids[#ids + 1] = client .. '\0' .. id end
  if id ~= '' and client ~= '' then anybodys['\0\0' .. id] = offset end
  for i = 13, #f, 2 do
    if f[i] == 'k' then redis.call('PEXPIRE', k.once .. f[i + 1], k.window) end
  end
  c.evicted, c.events, c.bytes = tonumber(offset), c.events - 1, c.bytes - cost(offset, #data, id, overhead)
  return #data
end

-- Evicts events that are too old or too much: at most a slice of them, plus as many as were added. The newest event is
-- never too much. In a channel that is held as a `whole`, nothing is too old before the last event is. The readers that
-- an event was for need not be known: each event names the previous one for the same readers.
local function evict(k, c, now, age, max_events, max_bytes, overhead)
  if c.events > 0 and now - c.time > age then return cut(k, c) end
  local function goes()
    return not c.whole and now - c.oldest > age or c.events > 1 and (c.events > max_events or c.bytes > max_bytes)
  end
  -- Reads the event to evict, and the next one for its time.
  local left, weight, count = SLICE + (k.added or 0), WEIGHT + (k.weight or 0), 2
  while c.events > 0 and left > 0 and weight > 0 and goes() do
    local entries, gone, ids, anybodys = redis.call('XRANGE', k.stream, '-', '+', 'COUNT', count), {}, {}, {}
    if #entries == 0 then return cut(k, c) end
    for _, entry in ipairs(entries) do
      c.oldest = tonumber(entry[2][10] or '0') or 0
      if not goes() then break end
      gone[#gone + 1] = entry[1]
      weight = weight - evict_one(k, c, entry, ids, anybodys, overhead)
    end
    if #gone > 0 then redis.call('XDEL', k.stream, unpack(gone)) end
    for id, offset in pairs(anybodys) do
      -- Keeps the id if a later event for another client has it.
      if redis.call('HGET', k.ids, id) == offset then ids[#ids + 1] = id end
    end
    if #ids > 0 then redis.call('HDEL', k.ids, unpack(ids)) end
    left = left - #gone
    count = math.max(1, math.min(left, 64, math.floor(65536 * c.events / math.max(c.bytes, 1))))
  end
end

-- Saves what is known of a channel, and the additional `fields`. Redis writes whole numbers as such.
local function save(k, c, fields)
  redis.call('HSET', k.meta, 'b', c.bytes, 'n', c.events, 'q', c.oldest, 'x', c.evicted, 'w', c.broadcast, 'o', c.others,
    'k', c.targeted and '1' or '0', unpack(fields))
end

-- Keeps a key for `life`.
local function keep(key, life)
  if life == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, life) end
end

-- Keeps what is known of a channel for `life`.
local function keep_channel(k, c, life)
  keep(k.meta, life)
  if c.targeted then keep(k.clients, life) end
end
