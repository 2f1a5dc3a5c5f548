-- KEYS: nodes, the node's.
-- ARGV: node, how long the report counts, 1 if the last report must be there, and pairs of a channel and its clients, or of
-- a holder's field and the streams that it has open; an empty text means that there are none.
-- Returns 0 if the node has to report everything.
local now = clock()
if ARGV[3] == '1' and redis.call('HEXISTS', KEYS[2], '') == 0 then return 0 end
if ARGV[3] == '0' then redis.call('UNLINK', KEYS[2]) end
-- Tells that the report is there, even if nobody is connected. A count alone does not make it.
redis.call('HSET', KEYS[2], '', '')
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[i]) else redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
if redis.call('HLEN', KEYS[2]) == 1 then
  redis.call('UNLINK', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 1
end
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], text(now + tonumber(ARGV[2])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
return 1
