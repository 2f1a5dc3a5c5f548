-- KEYS: hub, metas. ARGV: those of `enter_hub`.
local h, other = view_hub(KEYS[1])
if not h then return other end
local heads = { 'heads' }
for i = 2, #KEYS do
  local m = redis.call('HMGET', KEYS[i], 'l', 'd')
  heads[i] = m[2] == h.birth and m[1] or '0'
end
return heads
