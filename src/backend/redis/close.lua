-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, feed, life, the shortest life that a
-- channel can have had.
local hub, index, k, life = KEYS[1], KEYS[2], channel_keys(3), ARGV[6]
local h, other = enter_hub(hub)
if not h then return other end
local now = clock()
-- How long is known of the channel itself; one that is made here is known for `life`.
local ttl = redis.call('PTTL', k.meta)
local c = enter_channel(k, index, h, now, ARGV[7])
cut(k, c)
redis.call('HSET', k.meta, unpack(known(c, { 'c', text(tonumber(c.closed) + 1), 'f', '0' })))
if ttl ~= -1 and ttl < tonumber(life) then keep_channel(k, c, life) end
keep_hub(hub, index, h.until_, now, life)
push(h, ARGV[5], 'C')
return { 'closed' }
