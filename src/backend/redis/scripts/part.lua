-- Reads a channel's oldest events after an offset, as many as take little time. Does so only if that is enough to know
-- what is held and what is not: nothing after the offset was evicted, or only broadcasts were, and nothing has to be
-- evicted now.
-- KEYS: hub, index, the channel's four.
-- ARGV: those of `enter_hub`, those of `held_of`, after, how many events are wanted.
local k = channel_keys(3)
local r, other = look_to_read(k)
if not r then return other end
local c, after = r.c, tonumber(ARGV[6])
if not c or c.foreign or c.events == 0 then return { 'all' } end
if c.evicted > math.max(after, c.since) and (after > 0 or c.targeted) then return { 'all' } end
local count = math.min(tonumber(ARGV[7]), few(c))
local entries = redis.call('XRANGE', k.stream, '(' .. ARGV[6] .. '-0', '+', 'COUNT', count)
local oldest = c.time
if entries[1] then oldest = tonumber(entries[1][2][10] or '0') or 0 end
if has_excess(r, oldest) then return { 'all' } end
local newest = redis.call('XREVRANGE', k.stream, '+', '-', 'COUNT', 1)[1]
local numbers = {}
for i, number in ipairs({ c.last, c.evicted, c.others, c.events, c.bytes, r.now, count, c.since }) do
  numbers[i] = text(number)
end
return { 'part', r.says, c.finished and '1' or '0', c.closed, numbers, newest[1], entries }
