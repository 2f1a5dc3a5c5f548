-- Returns the nodes that have lately reported who is connected to them.
-- KEYS: nodes.
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(clock()), '+inf')
