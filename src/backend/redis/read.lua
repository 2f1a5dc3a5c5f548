-- KEYS: hub, index, stream, meta. ARGV: epoch, after, age, life, overhead.
local hub, index, stream, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local h = redis.call('HMGET', hub, 'e', 'n', 'x')
if h[1] ~= ARGV[1] then return { 'epoch', h[1] or '' } end
local now = clock()
keep_hub(hub, index, h[3], now, ARGV[4])
if redis.call('EXISTS', meta) == 0 then
  return { 'none', h[2], text(watermark(index, h[2], now, ARGV[4])) }
end
local c = enter_channel(meta, index, h[2], now, ARGV[4])
miss(stream, meta, c)
evict(stream, meta, c, now, ARGV[3], math.huge, math.huge, tonumber(ARGV[5]))
save(meta, c)
local entries = redis.call('XRANGE', stream, '(' .. ARGV[2] .. '-0', '+')
return { 'held', h[2], text(now), redis.call('HGETALL', meta), entries }
