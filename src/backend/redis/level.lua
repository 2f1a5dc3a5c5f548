-- KEYS: hub, index. ARGV: an epoch if there is none, life, whom to tell, 1 if a hub that is made is to push to its shard.
local h = enter_hub(KEYS[1], KEYS[2], ARGV[1], clock(), ARGV[2], ARGV[4])
if ARGV[3] ~= '' then push(h[4], ARGV[3], 'L ' .. h[1] .. ' ' .. h[2]) end
return { h[1], h[2], h[4] or '' }
