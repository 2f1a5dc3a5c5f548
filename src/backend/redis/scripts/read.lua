-- The newest of a channel's events, as many as are quickly given; all others are asked for without a script.
-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, those of `held_of`, after, which clients are to be listed: those
-- whose last event is after this offset, so many at most.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local h, other = view_hub(hub)
if not h then return other end
local c, now = look_at(k, h), clock()
local of, asked = asked_at(5)
local known_of = c or { held = {} }
-- Nothing is written here: what is asked for is noted by another script.
local is_new = is_own(h, known_of, of, asked) and ask_for(known_of.held, asked, now) and '1' or '0'
local held = most_of(h, known_of, of, asked)
for i = 1, 3 do held[i] = text(held[i]) end
local hub_says = { text(h.last), { h.former, text(h.lost) }, held, is_new }
if not c then return { 'none', hub_says, text(forgotten(k, index, h, now)) } end
local count = math.max(1, math.min(16, math.floor(65536 * c.events / math.max(c.bytes, 1))))
local entries, clients = {}, {}
if not c.foreign then
  entries = redis.call('XREVRANGE', k.stream, '+', '(' .. ARGV[9] .. '-0', 'COUNT', count)
  clients = redis.call('ZRANGEBYSCORE', k.clients, '(' .. ARGV[10], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[11])
end
local numbers = {}
for i, number in ipairs({ c.last, c.evicted, c.broadcast, c.others, c.events, c.bytes, now, count }) do
  numbers[i] = text(number)
end
return { 'held', hub_says, c.finished and '1' or '0', c.closed, numbers, clients, entries }
