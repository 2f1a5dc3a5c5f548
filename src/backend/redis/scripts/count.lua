-- KEYS: nodes, the node's.
-- ARGV: node, how long the count lasts, what the keys of nodes begin with, the holder's field, how many streams it has open
-- on the node, and how many it may have on all nodes, or an empty text if one has ended.
-- Returns 0, and changes nothing, if there would be too many.
local now, open = clock(), tonumber(ARGV[5])
if ARGV[6] ~= '' then
  local all = open
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now), '+inf')) do
    if node ~= ARGV[1] then all = all + tonumber(redis.call('HGET', ARGV[3] .. node, ARGV[4]) or 0) end
  end
  if all > tonumber(ARGV[6]) then return 0 end
end
if open == 0 then
  redis.call('HDEL', KEYS[2], ARGV[4])
  return 1
end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], text(now + tonumber(ARGV[2])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
return 1
