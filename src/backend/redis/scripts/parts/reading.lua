-- Reading writes nothing: another script notes what is asked for.

-- Returns what is known of the channel, the hub, the time, what is to be held of the channel, and what the answer says
-- about the hub. If the epoch is another one, returns nil and the answer that says so.
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

-- Returns how many of a channel's events one reply contains: as many as take little time.
local function few(c)
  return math.max(1, math.min(16, math.floor(65536 * c.events / math.max(c.bytes, 1))))
end

-- Returns whether more is stored than is to be held of a channel. The oldest event that matters was appended at
-- `oldest`.
local function has_excess(r, oldest)
  local c, age, most, is_whole = r.c, terms(r.held, r.c.finished)
  return c.lost or c.events > 1 and (c.events > most or c.bytes > r.held[2])
    or r.now - (is_whole and c.time or oldest) > age
end
