-- The newest of a channel's events, as many as are quickly given; all others are asked for without a script.
-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, after, life, which clients are to be listed: those whose last
-- event is after this offset, so many at most.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local h, other = view_hub(hub)
if not h then return other end
local c = look_at(k, h)
local before = { h.former, text(h.lost) }
if not c then return { 'none', text(h.last), before, text(forgotten(k, index, h, clock(), ARGV[6])) } end
local count = math.max(1, math.min(16, math.floor(65536 * c.events / math.max(c.bytes, 1))))
local entries, clients = {}, {}
if not c.foreign then
  entries = redis.call('XREVRANGE', k.stream, '+', '(' .. ARGV[5] .. '-0', 'COUNT', count)
  clients = redis.call('ZRANGEBYSCORE', k.clients, '(' .. ARGV[7], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[8])
end
local numbers = {}
for i, number in ipairs({ c.last, c.evicted, c.broadcast, c.others, c.events, c.bytes, clock(), count }) do
  numbers[i] = text(number)
end
return { 'held', text(h.last), before, c.finished and '1' or '0', c.closed, numbers, clients, entries }
