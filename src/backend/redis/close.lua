-- KEYS: hub, index, stream, meta. ARGV: epoch, feed, life, the shortest life that a channel can have had.
local hub, index, stream, meta, life = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[3]
local h = redis.call('HMGET', hub, 'e', 'n', 'x')
if h[1] ~= ARGV[1] then return { 'epoch', h[1] or '' } end
local now = clock()
-- How long is known of the channel itself; one that is made here is known for `life`.
local ttl = redis.call('PTTL', meta)
local c = enter_channel(meta, index, h[2], now, ARGV[4])
evict_all(stream, meta, c)
save(meta, c)
redis.call('HDEL', meta, 'f')
redis.call('HINCRBY', meta, 'c', 1)
if ttl ~= -1 and ttl < tonumber(life) then redis.call('PEXPIRE', meta, tonumber(life)) end
keep_hub(hub, index, h[3], now, life)
redis.call('PUBLISH', ARGV[2], 'C')
return { 'closed' }
