-- Appends events: all of them, or none.
-- KEYS: hub, index, the channel's four, and one for each event that has an idempotency key.
-- ARGV: those of `enter_hub`, those of `held_of`, how long a channel is remembered, feed, whether the channel is
-- finished, overhead, window, the prefix of the names of idempotency keys, fence, what the channel's last event has to
-- be. For each event, these follow: the bytes, the client, the id, the idempotency key and the exception.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local feed, is_last, overhead = ARGV[7], ARGV[8], tonumber(ARGV[9])
local fence, expected, HEAD = ARGV[12], ARGV[13], 13
local count = (#ARGV - HEAD) / 5
k.window, k.once = tonumber(ARGV[10]), ARGV[11]
local h, other = enter_hub(hub)
if not h then return other end

-- For the events that are repeated: `before` has the stored first event with the same key, and `same` the position of
-- the first event with that key in this append.
local before, same, new = {}, {}, count
local names, first_with = 0, {}
for i = 1, count do
  before[i] = ''
  if ARGV[HEAD + 5 * i - 1] ~= '' then
    local name = KEYS[7 + names]
    local first = first_with[name]
    names = names + 1
    if not first then
      first_with[name] = i
      before[i] = redis.call('GET', name) or ''
    elseif before[first] ~= '' then
      before[i] = before[first]
    else
      same[i] = first
    end
    if before[i] ~= '' or same[i] then new = new - 1 end
  end
end
if new == 0 and count > 0 then return { 'at', '0', before } end

local now = clock()
local c = enter_channel(hub, k, index, h, now)
local held = limits((held_of(hub, h, k.meta, c, now, ARGV[4], ARGV[5], true)))
-- Returns how long events are held, and how long the channel is remembered.
local function lives(is_finished)
  local age, _, is_whole = terms(held, is_finished)
  c.whole = is_whole
  if age >= FOREVER then return math.huge, '' end
  return age, age + tonumber(ARGV[6])
end
local age, life = lives(c.finished)
evict(k, c, now, age, math.huge, math.huge, overhead)

local function refuse(...)
  save(k, c, {})
  -- A channel that was created here must not stay.
  if c.last == 0 and redis.call('PTTL', k.meta) == -1 then redis.call('PEXPIRE', k.meta, ARGV[6]) end
  return { ... }
end

-- Fences are numbers of the same length, and can be compared as texts.
if fence ~= '' and c.fence and fence < c.fence then return refuse('fenced', c.fence) end
if c.finished then return refuse('finished') end
local last = c.last > c.closed_at and c.last or 0
if expected ~= '' and expected ~= (last > 0 and h.epoch .. ' ' .. text(last) or 'none') then
  return refuse('conflict', text(last))
end
-- Each id must be unique among the events that any one reader sees: those for its client, and the broadcasts.
local ids = {}
for i = 1, count do
  local at = HEAD + 5 * i
  local client, id = ARGV[at - 3], ARGV[at - 2]
  if id ~= '' and before[i] == '' and not same[i] then
    local own, other_readers = client .. '\0' .. id, (client == '' and '\0\0' or '\0') .. id
    if ids[own] or ids[other_readers] then return refuse('duplicate') end
    for _, offset in ipairs(redis.call('HMGET', k.ids, own, other_readers)) do
      -- The ids of evicted events may still be there.
      if offset and tonumber(offset) > c.evicted then return refuse('duplicate') end
    end
    ids[own], ids['\0\0' .. id] = true, true
  end
end

if c.last > 0 and c.last < h.lost then lose(k, c, h.lost) end

age, life = lives(is_last == '1')

-- The index of times has about sixty-four entries for the longest life.
if life ~= '' then
  local longest, written = math.max(life, h.longest), h.written
  if written > now then
    -- The clock has gone back. Offsets recorded as given later than now have been given by now.
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
-- An end without an event takes an offset too.
local taken = math.max(new, 1)
local first = redis.call('HINCRBY', hub, 'n', taken) - taken + 1
local pushed, placed, has_ids, name = {}, {}, false, 6
k.weight = 0
for i = 1, count do
  local at = HEAD + 5 * i
  local data, client, id, key, except = ARGV[at - 4], ARGV[at - 3], ARGV[at - 2], ARGV[at - 1], ARGV[at]
  if key ~= '' then name = name + 1 end
  if same[i] then
    before[i] = placed[same[i]]
  elseif before[i] == '' then
    local number, previous, before_it = first + #pushed, text(c.last), c.broadcast
    local offset = text(number)
    if client == '' then
      c.broadcast = number
    else
      before_it = tonumber(redis.call('ZSCORE', k.clients, client) or c.others)
      c.targeted = true
      if redis.call('ZADD', k.clients, offset, client) == 1 and redis.call('ZCARD', k.clients) > MARKS then
        -- The client whose last event is the oldest is merged into the mark of all other clients.
        c.others = math.max(c.others, tonumber(redis.call('ZPOPMIN', k.clients)[2]))
      end
    end
    local rare = {}
    if except ~= '' then rare = { 'x', except } end
    if key ~= '' then
      rare[#rare + 1] = 'k'
      rare[#rare + 1] = key
      placed[i] = h.epoch .. ' ' .. offset .. ' ' .. id
      -- The key is known at least as long as its event is held. Events that are held until some time after the end keep
      -- their keys for that time, too.
      local known = c.whole and age + held[5] or age
      redis.call('SET', KEYS[name], placed[i], 'PX', text(math.max(1, k.window, math.min(known, YEAR))))
    end
    redis.call('XADD', k.stream, offset .. '-0', 'd', data, 'c', client, 'i', id, 'p', previous, 't', now, 'w', before_it,
      unpack(rare))
    if c.events == 0 then c.oldest = now end
    c.events, c.bytes = c.events + 1, c.bytes + cost(offset, #data, id, overhead)
    c.last, c.time, k.weight = number, now, k.weight + #data
    if id ~= '' then
      has_ids = true
      redis.call('HSET', k.ids, client .. '\0' .. id, offset)
      if client ~= '' then redis.call('HSET', k.ids, '\0\0' .. id, offset) end
    end
    pushed[#pushed + 1] = 'E ' .. h.epoch .. ' ' .. offset .. ' ' .. previous .. ' '
      .. (#pushed + 1 == new and is_last or '0') .. ' ' .. #client .. ' ' .. #id
      .. ' ' .. #except .. '\n' .. client .. id .. except .. data
  end
end
if new == 0 then
  pushed[1] = 'F ' .. h.epoch .. ' ' .. text(first) .. ' ' .. text(c.last)
  -- Events that are held until some time after the end are held from this moment on.
  c.last, c.time = first, now
end
if has_ids then keep(k.ids, life == '' and '' or age + 1000) end
k.added = #pushed - 1
local _, most = terms(held, false)
evict(k, c, now, math.huge, most, held[2], overhead)
local fields = { 'l', text(c.last), 't', c.time }
if is_last == '1' then
  fields[5], fields[6] = 'f', '1'
end
if fence ~= '' and fence ~= c.fence then
  fields[#fields + 1] = 'e'
  fields[#fields + 1] = fence
end
save(k, c, fields)
-- The marks of events that are too old are made before these events are gone, or from what is remembered of them.
keep(k.stream, life == '' and '' or age + 1000)
keep_channel(k, c, life)
keep_hub(hub, index, h, now, life)
if #pushed == 1 then
  push(h, feed, pushed[1])
else
  local lengths = {}
  for i, message in ipairs(pushed) do lengths[i] = #message end
  push(h, feed, 'M ' .. table.concat(lengths, ' ') .. '\n' .. table.concat(pushed))
end
if new == count then return { 'at', text(first) } end
return { 'at', text(first), before }
