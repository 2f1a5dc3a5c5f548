-- KEYS: hub, metas. ARGV: epoch.
local h = look_at_hub(KEYS[1])
if h.epoch ~= ARGV[1] then return { 'epoch', h.epoch } end
local heads = { 'heads' }
for i = 2, #KEYS do
  local m = redis.call('HMGET', KEYS[i], 'l', 'd')
  heads[i] = m[2] == h.birth and m[1] or '0'
end
return heads
