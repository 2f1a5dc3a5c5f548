-- KEYS: hub. ARGV: the lost epoch, the new one.
if redis.call('HGET', KEYS[1], 'e') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'e', ARGV[2])
  -- Its index of times begins anew too, with the next event: until then all that was given counts as missed.
  redis.call('HDEL', KEYS[1], 'w')
end
return redis.call('HGET', KEYS[1], 'e') or ARGV[2]
