-- KEYS: hub, metas. ARGV: epoch.
local epoch = redis.call('HGET', KEYS[1], 'e')
if epoch ~= ARGV[1] then return { 'epoch', epoch or '' } end
local heads = { 'heads' }
for i = 2, #KEYS do heads[i] = redis.call('HGET', KEYS[i], 'l') or '0' end
return heads
