-- KEYS: hub. ARGV: the lost epoch, the new one.
if redis.call('HGET', KEYS[1], 'e') == ARGV[1] then redis.call('HSET', KEYS[1], 'e', ARGV[2]) end
return redis.call('HGET', KEYS[1], 'e') or ARGV[2]
