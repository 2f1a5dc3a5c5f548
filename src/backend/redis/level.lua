-- KEYS: hub, index. ARGV: an epoch if there is none, life, whom to tell.
local h = enter_hub(KEYS[1], KEYS[2], ARGV[1], clock(), ARGV[2])
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], 'L ' .. h[1] .. ' ' .. h[2]) end
return { h[1], h[2] }
