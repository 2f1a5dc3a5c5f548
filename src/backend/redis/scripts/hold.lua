-- Takes note of what a node asks to be held of a channel that it reads.
-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, those of `held_of`, how long a channel is remembered.
local hub, index, k = KEYS[1], KEYS[2], channel_keys(3)
local h, other = enter_hub(hub)
if not h then return other end
local now = clock()
-- How long is known of the channel so far: once it is made here, this is not told by its keys.
local ttl = redis.call('PTTL', k.meta)
local c = enter_channel(hub, k, index, h, now)
local age = three((held_of(hub, h, k.meta, c, now, ARGV[4], ARGV[5], true)))[3]
save(k, c, {})
-- One that is remembered for longer is not remembered for less.
local life = age >= FOREVER and '' or age + tonumber(ARGV[6])
if life == '' or ttl ~= -1 and ttl < life then keep_channel(k, c, life) end
-- Neither are its events held for less.
for _, key in ipairs({ k.stream, k.ids }) do
  local left = redis.call('PTTL', key)
  local most = life == '' and '' or c.time + age + 1000 - now
  if left >= 0 and (most == '' or left < most) then keep(key, most) end
end
keep_hub(hub, index, h, now, life)
return { 'held' }
