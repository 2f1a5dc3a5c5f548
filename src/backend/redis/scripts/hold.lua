-- Notes what a node asks to be held of a channel that it reads.
-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, those of `held_of`, how long a channel is remembered.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local h, other = enter_hub(hub)
if not h then return other end
local now = clock()
-- For how long the channel is remembered so far. It is created below if it does not exist.
local ttl = redis.call('PTTL', k.meta)
local c = enter_channel(hub, k, index, h, now)
local age = terms(limits((held_of(hub, h, k.meta, c, now, ARGV[4], ARGV[5], true))), c.finished)
save(k, c, {})
-- Never shortens the time for which the channel is remembered.
local life = age >= FOREVER and '' or age + tonumber(ARGV[6])
if life == '' or ttl ~= -1 and ttl < life then keep_channel(k, c, life) end
-- The same applies to its events and their ids.
for _, key in ipairs({ k.stream, k.ids }) do
  local left = redis.call('PTTL', key)
  local most = life == '' and '' or c.time + age + 1000 - now
  if left >= 0 and (most == '' or left < most) then keep(key, most) end
end
keep_hub(hub, index, h, now, life)
return { 'held' }
