-- KEYS: nodes. ARGV: what the nodes' keys begin with, channel.
local present = {}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(clock()), '+inf')) do
  local clients = redis.call('HGET', ARGV[1] .. node, ARGV[2])
  if clients then present[#present + 1] = clients end
end
return present
