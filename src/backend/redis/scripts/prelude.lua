-- What the scripts share. All numbers that become text are whole and below 2^53, where Lua's doubles are exact.

-- A channel remembers the last event of so many clients.
local MARKS = 10000
-- The offsets that are left out where a server may have lost some that it had given: as many as it can have lost.
local LEAP = 16777216
-- One call evicts about so many events, or so many bytes of them. The rest is left to later calls.
local SLICE, WEIGHT = 200, 1048576
-- In milliseconds. What is to be held for as long as FOREVER has no age.
local HOUR, DAY, FOREVER = 3600000, 86400000, 4503599627370496

local function text(number)
  return string.format('%.0f', number)
end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The whole numbers in a text.
local function numbers_of(words)
  local numbers = {}
  if not words or words == '' then return numbers end
  for number in string.gmatch(words, '%d+') do numbers[#numbers + 1] = tonumber(number) end
  return numbers
end

local function text_of(numbers)
  local words = {}
  for i, number in ipairs(numbers) do words[i] = text(number) end
  return table.concat(words, ' ')
end

-- Where memory is used up Redis refuses what a script does first, if that may need some. To read, to close and to begin an epoch
-- has to be possible then, and needs next to none: so this, which needs none, is done before.
local function do_without_memory(hub)
  redis.call('HDEL', hub, '')
end

-- What is known of the hub; without an epoch if there is none. Its birth is the epoch that it began with: a channel that has
-- another one is of a hub that was lost. `lost` is the offset that was given to what was lost before the epoch began, and
-- `former` the epoch before it. A hub that is `sharded` pushes to its shard of a cluster. For `lineage`, `leaps`, `doubted` and
-- `evictions` see `survey`, for `held` see `ask_for`, for `lives` see `remember_life`.
local function look_at_hub(hub)
  local h = redis.call('HMGET', hub, 'e', 'n', 'x', 'w', 'y', 'b', 'd', 'p', 's', 'g', 'j', 'z', 'v', 'r', 'm')
  return {
    epoch = h[1] or '', last = tonumber(h[2] or '0'), until_ = h[3], written = tonumber(h[4] or '0'),
    longest = tonumber(h[5] or '0'), lost = tonumber(h[6] or '0'), birth = h[7], former = h[8] or '', sharded = h[9] or '',
    lineage = h[10] or '', leaps = h[11] or '', doubted = tonumber(h[12] or '0'), evictions = h[13] or '0',
    held = numbers_of(h[14]), lives = numbers_of(h[15]),
  }
end

-- Pushes to all who are subscribed: on a cluster to those of the servers that have the hub's slot, and not to all of its
-- servers.
local function push(h, channel, message)
  redis.call(h.sharded == '1' and 'SPUBLISH' or 'PUBLISH', channel, message)
end

-- Begins a new epoch. No offset is given again that is known to have been given in the one before.
local function renew(hub, h, epoch, known)
  h.last = math.max(h.last, known) + 1
  h.former, h.epoch, h.lost, h.leaps = h.epoch, epoch, h.last, ''
  redis.call('HSET', hub, 'e', epoch, 'n', text(h.last), 'b', text(h.lost), 'p', h.former, 'j', '')
end

-- An offset of the epoch that a node knows to have been given, and that the hub does not know of.
local function is_lost(h, known)
  if known > h.last then return true end
  for from, to in string.gmatch(h.leaps, '(%d+)-(%d+)') do
    -- Nodes are told the last of those that are left out: it is how far the hub is until one is given after it.
    if known > tonumber(from) and known < tonumber(to) then return true end
  end
  return false
end

-- A section of what the server says of itself; nothing where the user may not ask.
local function info(section)
  local answer = redis.pcall('INFO', section)
  return type(answer) == 'string' and answer or ''
end

-- Which server this is, and what its data are: the id of its process, and that of its replication. The second changes when a
-- replica is promoted, and at times with nothing lost, as when a master gets its first replica. The second answer is whether the
-- server has been a replica of another one.
local function lineage()
  local answer = info('replication')
  local id, former = string.match(answer, 'master_replid:(%x+)'), string.match(answer, 'master_replid2:(%x+)') or ''
  if not id then return '', false end
  return (string.match(info('server'), 'run_id:(%x+)') or '') .. ' ' .. id, string.find(former, '[^0]') ~= nil
end

-- How many keys the server has evicted since it was started, if the hub has not taken notice of that.
local function evictions(h)
  local count = string.match(info('stats'), 'evicted_keys:(%d+)') or '0'
  if count ~= '0' and count ~= h.evictions then return count end
end

-- Leaves out as many offsets as the server may have given and lost, so that none is given again.
local function leap(hub, h)
  local from = h.last
  h.last = from + LEAP
  h.leaps = (#h.leaps > 1000 and string.match(h.leaps, ' (.*)') or h.leaps) .. text(from) .. '-' .. text(h.last) .. ' '
  redis.call('HSET', hub, 'n', text(h.last), 'j', h.leaps)
end

-- Takes notice of what has happened to the server. A replica that was promoted may lack the last events that its master
-- acknowledged, and so does a server that was started with what it had saved at times: a new epoch begins. One that writes each
-- command to a file has all of them, but for the last second or so if its machine was gone: a node that knows better tells.
local function survey(hub, h, candidate)
  local id, was_replica = lineage()
  if id ~= '' and id ~= h.lineage then
    local is_another = string.match(id, '^%x*') ~= string.match(h.lineage, '^%x*')
    if h.lineage ~= '' and (was_replica or is_another) then
      if was_replica or not string.find(info('persistence'), 'aof_enabled:1', 1, true) then
        renew(hub, h, candidate, 0)
      else
        leap(hub, h)
      end
    end
    redis.call('HSET', hub, 'g', id)
  end
  local count = evictions(h)
  if count then
    h.doubted, h.evictions = h.last, count
    redis.call('HSET', hub, 'z', text(h.last), 'v', count)
  end
end

-- The hub, for a script that begins with these arguments: the epoch that the node knows, the highest offset of it that it knows
-- to have been given, an epoch to begin if that is lost, and 1 if the server is to be surveyed. Without the hub it gives what is
-- to be answered: its epoch is another one.
local function enter_hub(hub)
  local h = look_at_hub(hub)
  if h.epoch ~= '' and ARGV[4] == '1' then survey(hub, h, ARGV[3]) end
  -- None is given again: a reader that has seen the lost one would take the other for it, or never get it.
  if h.epoch == ARGV[1] and is_lost(h, tonumber(ARGV[2])) then renew(hub, h, ARGV[3], tonumber(ARGV[2])) end
  if h.epoch ~= ARGV[1] then return nil, { 'epoch', h.epoch } end
  return h
end

-- The same for a script that writes nothing: where the server has another lineage, it leaves it to others to survey it.
local function view_hub(hub)
  local h = look_at_hub(hub)
  if h.epoch ~= ARGV[1] then return nil, { 'epoch', h.epoch } end
  if ARGV[4] == '1' and h.lineage ~= (lineage()) then return nil, { 'epoch', '' } end
  return h
end

-- The hub lives as long as the longest lived of its channels: for `life` from now, or for ever.
local function keep_hub(hub, index, h, now, life)
  if h.until_ == 'ever' then return end
  if life == '' then
    redis.call('HSET', hub, 'x', 'ever')
    redis.call('PERSIST', hub)
    redis.call('PERSIST', index)
  elseif not h.until_ or tonumber(h.until_) < now + life then
    local longer = life + math.floor(life / 8) + 1000
    redis.call('HSET', hub, 'x', text(now + longer))
    redis.call('PEXPIRE', hub, longer)
    redis.call('PEXPIRE', index, longer)
  end
end

-- Remembers that something is known of a channel for so long. Of the hub's lives there are: since when, the shortest since then,
-- and the shortest in the time before, which was as long as the longest.
local function remember_life(hub, h, now, life)
  if life == '' then return end
  local since, shortest, before = h.lives[1], h.lives[2], h.lives[3]
  if not since then
    h.lives = { now, life, life }
  elseif now - since > math.max(h.longest, life) then
    h.lives = { now, life, shortest }
  elseif life < shortest then
    h.lives = { since, life, before }
  else
    return
  end
  redis.call('HSET', hub, 'm', text_of(h.lives))
end

-- The highest offset that a channel can have had of which nothing is remembered: it had its last event longer ago than the
-- shortest life of a channel. The index has times, and the offset that had been given last by then.
local function watermark(index, h, now)
  if not h.lives[1] then return 0 end
  local shortest = math.min(h.lives[2], h.lives[3])
  local after = redis.call('ZRANGEBYSCORE', index, '(' .. text(now - shortest), '+inf', 'LIMIT', 0, 1)[1]
  if not after then return h.last end
  return tonumber(string.match(after, ':(%d+)$'))
end

-- Of a hub or a channel, in `held`: the most events, bytes and milliseconds that a node has asked to be held, each with the time
-- when that was last asked for. What nobody has asked for in a day gives way to less. Says whether there is anything new.
local function ask_for(held, asked, now)
  local is_new = false
  for i = 1, 3 do
    local most, at = held[2 * i - 1] or 0, held[2 * i] or 0
    if asked[i] > most or asked[i] == most and now - at > HOUR or asked[i] < most and now - at > DAY then
      held[2 * i - 1], held[2 * i], is_new = asked[i], now, true
    end
  end
  return is_new
end

-- What a script is told from this argument on: nothing, `all` or `this` for whom the node asks, and what for.
local function asked_at(at)
  return ARGV[at], { tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]) }
end

-- What is to be held of a channel: the most that is asked for, of all channels or of this one; or what is given, by default.
local function most_of(h, c, of, asked)
  local held = {}
  for i = 1, 3 do
    local most = math.max(h.held[2 * i - 1] or 0, c.held[2 * i - 1] or 0)
    held[i] = (of ~= '' or most == 0) and math.max(most, asked[i]) or most
  end
  return held
end

-- Whether the channel has something to note of what is asked for: where somebody has asked for it alone, or does so for more
-- than for all channels.
local function is_own(h, c, of, asked)
  if of == '' then return false end
  for i = 1, 3 do
    if c.held[1] or of == 'this' and asked[i] > (h.held[2 * i - 1] or 0) then return true end
  end
  return false
end

-- The same, taking note of what the node asks for.
local function held_of(hub, h, c, now, at)
  local of, asked = asked_at(at)
  if of == 'all' and ask_for(h.held, asked, now) then redis.call('HSET', hub, 'r', text_of(h.held)) end
  if is_own(h, c, of, asked) and ask_for(c.held, asked, now) then c.asked = true end
  return most_of(h, c, of, asked)
end

-- How long something is known of a channel of which so much is held: for so long after an event is too old, or for ever.
local function life_of(held, at)
  return held[3] >= FOREVER and '' or held[3] + tonumber(ARGV[at])
end

-- A channel's keys, in the order in which every script is given them.
local function channel_keys(first)
  return { stream = KEYS[first], meta = KEYS[first + 1], ids = KEYS[first + 2], clients = KEYS[first + 3] }
end

-- A channel without any event.
local function empty_channel(mark)
  return {
    last = 0, finished = false, bytes = 0, events = 0, time = 0, oldest = 0, evicted = mark, broadcast = mark,
    others = mark, targeted = false, closed = '0', held = {},
  }
end

-- What is known of a channel; nothing if the store remembers nothing of it. Of one that is of a hub that was lost only that it
-- is finished counts, and how often it was closed.
local function look_at(k, h)
  local m = redis.call('HMGET', k.meta, 'l', 'f', 'b', 'n', 't', 'q', 'x', 'w', 'o', 'k', 'c', 'd', 'r')
  if not m[1] then return nil end
  if m[12] ~= h.birth then
    local c = empty_channel(0)
    c.finished, c.closed, c.foreign = m[2] == '1', m[11] or '0', true
    return c
  end
  local c = {
    last = tonumber(m[1]), finished = m[2] == '1', bytes = tonumber(m[3] or '0'), events = tonumber(m[4] or '0'),
    time = tonumber(m[5] or '0'), oldest = tonumber(m[6] or '0'), evicted = tonumber(m[7] or '0'),
    broadcast = tonumber(m[8] or '0'), others = tonumber(m[9] or '0'), targeted = m[10] == '1', closed = m[11] or '0',
    held = numbers_of(m[13]),
  }
  -- Its other keys may be gone though nothing in them is known to be too old: by somebody's hand, or because the clock was
  -- ahead for a while. Then what was in them is evicted.
  if c.events > 0 and redis.call('XLEN', k.stream) == 0 then c.lost = true end
  if c.targeted and redis.call('EXISTS', k.clients) == 0 then
    c.targeted, c.others = false, c.last
  end
  if c.lost then c.evicted = math.max(c.evicted, c.last) end
  return c
end

-- Up to where a channel may have had events of which nothing is remembered. If what was there may have been evicted, that may
-- be as far as the hub is.
local function unremembered(index, h, now)
  if evictions(h) then return h.last end
  return math.max(watermark(index, h, now), h.doubted)
end

-- The same of one channel; as far as the hub is, too, if there is a stream without anything else.
local function forgotten(k, index, h, now)
  if redis.call('EXISTS', k.stream) == 1 then return h.last end
  return unremembered(index, h, now)
end

-- All of a channel is evicted.
local function cut(k, c)
  redis.call('UNLINK', k.stream, k.ids)
  c.evicted, c.bytes, c.events = math.max(c.evicted, c.last), 0, 0
end

-- The last of a channel's events may be lost: all before that counts as evicted, for whomever it was.
local function lose(k, c, mark)
  redis.call('UNLINK', k.stream, k.ids, k.clients)
  c.last, c.evicted, c.broadcast, c.others, c.targeted = mark, mark, mark, mark, false
  c.bytes, c.events = 0, 0
end

-- What is known of a channel, made if nothing is.
local function enter_channel(k, index, h, now)
  local c = look_at(k, h)
  if not c or c.foreign then
    c = c or empty_channel(forgotten(k, index, h, now))
    -- First, since it is refused where memory is used up.
    redis.call('HSET', k.meta, 'l', '0', 'd', h.birth)
    redis.call('UNLINK', k.stream, k.ids, k.clients)
  elseif c.lost then
    cut(k, c)
  end
  return c
end

-- What an event counts, with its id's line.
local function cost(offset, bytes, id, overhead)
  if id ~= '' then return bytes + 6 + #id + overhead end
  return bytes + 19 + #offset + overhead
end

-- Evicts an event of a channel's stream; its custom id goes to `ids`, and where that is one of any client's, to `anybodys` with
-- the event's offset.
local function evict_one(c, entry, ids, anybodys, overhead)
  local offset, f = string.match(entry[1], '^%d+'), entry[2]
  local data, client, id = f[2] or '', f[4] or '', f[6] or ''
  if id ~= '' then ids[#ids + 1] = client .. '\0' .. id end
  if id ~= '' and client ~= '' then anybodys['\0\0' .. id] = offset end
  c.evicted, c.events, c.bytes = tonumber(offset), c.events - 1, c.bytes - cost(offset, #data, id, overhead)
  return #data
end

-- Evicts what is too old, and what is too much, a slice of it at most; the newest is never too much. For whom an event was
-- need not be known: each event says where the one before it for the same readers is.
local function evict(k, c, now, age, max_events, max_bytes, overhead)
  if c.events > 0 and now - c.time > age then return cut(k, c) end
  local function goes()
    return now - c.oldest > age or c.events > 1 and (c.events > max_events or c.bytes > max_bytes)
  end
  -- The one that goes, and the time of the next.
  local left, weight, count = SLICE, WEIGHT, 2
  while c.events > 0 and left > 0 and weight > 0 and goes() do
    local entries, gone, ids, anybodys = redis.call('XRANGE', k.stream, '-', '+', 'COUNT', count), {}, {}, {}
    if #entries == 0 then return cut(k, c) end
    for _, entry in ipairs(entries) do
      c.oldest = tonumber(entry[2][10] or '0') or 0
      if not goes() then break end
      gone[#gone + 1] = entry[1]
      weight = weight - evict_one(c, entry, ids, anybodys, overhead)
    end
    if #gone > 0 then redis.call('XDEL', k.stream, unpack(gone)) end
    for id, offset in pairs(anybodys) do
      -- Unless a later event for another client has it.
      if redis.call('HGET', k.ids, id) == offset then ids[#ids + 1] = id end
    end
    if #ids > 0 then redis.call('HDEL', k.ids, unpack(ids)) end
    left = left - #gone
    count = math.max(1, math.min(left, 64, math.floor(65536 * c.events / math.max(c.bytes, 1))))
  end
end

-- Sets what is known of a channel, and `fields` besides. Redis takes whole numbers as they are.
local function save(k, c, fields)
  local i = #fields
  if c.asked then
    fields[i + 1], fields[i + 2] = 'r', text_of(c.held)
    i = i + 2
  end
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
