-- Reading, which writes nothing: what is asked for is noted by another script.

-- What is known of the channel, the hub, the time, what is to be held of the channel, and what the answer says of the hub. If the
-- epoch is another one: nothing, and what is to be answered.
local function look_to_read(k)
  local hub = KEYS[1]
  local h = look_at_hub(hub)
  if h.epoch ~= ARGV[1] then return nil, { 'epoch', h.epoch } end
  local c, now = look_at(k, h), clock()
  local held, is_new = held_of(hub, h, k.meta, c or {}, now, ARGV[4], ARGV[5], false)
  local former = redis.call('HGET', hub, 'p') or ''
  local says = { text(h.last), { former, text(h.lost) }, held, is_new and '1' or '0' }
  return { c = c, h = h, now = now, held = limits(held), says = says }
end

-- How many of a channel's events one reply has: as many as take little time.
local function few(c)
  return math.max(1, math.min(16, math.floor(65536 * c.events / math.max(c.bytes, 1))))
end

-- Whether more is stored than is to be held of a channel, of which the oldest event that matters was appended at `oldest`.
local function has_excess(r, oldest)
  local c, age, most, is_whole = r.c, terms(r.held, r.c.finished)
  return c.lost or c.events > 1 and (c.events > most or c.bytes > r.held[2])
    or r.now - (is_whole and c.time or oldest) > age
end
