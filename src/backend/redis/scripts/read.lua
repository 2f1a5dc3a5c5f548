-- Reads a channel's newest events, as many as take little time. Plain commands read all others.
-- KEYS: hub, index, the channel's four.
-- ARGV: those of `enter_hub`, those of `held_of`, after, and which clients to list: those whose last event is after
-- this offset, and at most this many.
local k = channel_keys(3)
local r, other = look_to_read(k)
if not r then return other end
local c = r.c
if not c then return { 'none', r.says, text(forgotten(KEYS[1], k, KEYS[2], r.h, r.now)) } end
local count = few(c)
local entries, clients = {}, {}
if not c.foreign then
  entries = redis.call('XREVRANGE', k.stream, '+', '(' .. ARGV[6] .. '-0', 'COUNT', count)
  clients = redis.call('ZRANGEBYSCORE', k.clients, '(' .. ARGV[7], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[8])
end
local numbers = {}
for i, number in ipairs({ c.last, c.evicted, c.broadcast, c.others, c.events, c.bytes, r.now, count, c.since }) do
  numbers[i] = text(number)
end
return { 'held', r.says, c.finished and '1' or '0', c.closed, numbers, clients, entries }
