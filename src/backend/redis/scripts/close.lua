-- KEYS: hub, index, the channel's four. ARGV: those of `enter_hub`, feed, life.
local hub, index, k, life = KEYS[1], KEYS[2], channel_keys(3), tonumber(ARGV[5])
do_without_memory(hub)
local h, other = enter_hub(hub)
if not h then return other end
local now = clock()
-- How long the channel itself is remembered. A channel that is created here is remembered for `life`.
local ttl = redis.call('PTTL', k.meta)
local c = enter_channel(hub, k, index, h, now)
cut(k, c)
save(k, c, { 'c', tonumber(c.closed) + 1, 'f', '0', 'z', c.last, 'a', text(math.max(c.since, c.last)) })
if ttl ~= -1 and ttl < life then keep_channel(k, c, life) end
remember_life(hub, h, now, life)
keep_hub(hub, index, h, now, life)
push(h, ARGV[4], 'C')
return { 'closed' }
