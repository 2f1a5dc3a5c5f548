-- Describes a channel's state, unless something has to be evicted from it.
-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, those of `held_of`.
local k = channel_keys(3)
local r, other = look_to_read(k)
if not r then return other end
local c, first, newest = r.c or empty_channel(0), '', {}
if c.events > 0 then
  if has_excess(r, c.oldest) or redis.call('XLEN', k.stream) ~= c.events then return { 'all' } end
  first = redis.call('XRANGE', k.stream, '-', '+', 'COUNT', 1)[1][1]
  if c.broadcast > 0 then
    local at = text(c.broadcast) .. '-0'
    newest = redis.call('XRANGE', k.stream, at, at, 'COUNT', 1)
  end
end
local numbers = {}
for i, number in ipairs({ c.last, c.since, c.events, c.bytes, r.now }) do numbers[i] = text(number) end
return { 'about', r.says, c.finished and '1' or '0', numbers, first, newest }
