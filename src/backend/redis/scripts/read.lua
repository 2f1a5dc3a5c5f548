-- Reads a channel's newest events, as many as take little time. Plain commands read all others.
-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, those of `held_of`, after, which clients are to be listed: those
-- whose last event is after this offset, so many at most.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local h = look_at_hub(hub)
if h.epoch ~= ARGV[1] then return { 'epoch', h.epoch } end
local c, now = look_at(k, h), clock()
-- Nothing is written here: what is asked for is noted by another script.
local held, is_new = held_of(hub, h, k.meta, c or {}, now, ARGV[4], ARGV[5], false)
local former = redis.call('HGET', hub, 'p') or ''
local hub_says = { text(h.last), { former, text(h.lost) }, held, is_new and '1' or '0' }
if not c then return { 'none', hub_says, text(forgotten(hub, k, index, h, now)) } end
local count = math.max(1, math.min(16, math.floor(65536 * c.events / math.max(c.bytes, 1))))
local entries, clients = {}, {}
if not c.foreign then
  entries = redis.call('XREVRANGE', k.stream, '+', '(' .. ARGV[6] .. '-0', 'COUNT', count)
  clients = redis.call('ZRANGEBYSCORE', k.clients, '(' .. ARGV[7], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[8])
end
local numbers = {}
for i, number in ipairs({ c.last, c.evicted, c.broadcast, c.others, c.events, c.bytes, now, count, c.since }) do
  numbers[i] = text(number)
end
return { 'held', hub_says, c.finished and '1' or '0', c.closed, numbers, clients, entries }
