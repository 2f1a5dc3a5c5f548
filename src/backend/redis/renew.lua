-- KEYS: hub. ARGV: the lost epoch, the new one.
if redis.call('HGET', KEYS[1], 'e') == ARGV[1] then renew(KEYS[1], ARGV[2]) end
return redis.call('HGET', KEYS[1], 'e') or ARGV[2]
