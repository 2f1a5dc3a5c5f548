-- Pushes an ephemeral event.
-- KEYS: hub. ARGV: feed, client, exception, bytes.
local client, except = ARGV[2], ARGV[3]
local h = { sharded = redis.call('HGET', KEYS[1], 's') }
push(h, ARGV[1], 'P ' .. #client .. ' ' .. #except .. '\n' .. client .. except .. ARGV[4])
return 1
