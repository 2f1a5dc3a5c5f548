-- KEYS: hub, index. ARGV: an epoch if there is none, life, whom to tell, 1 if a hub that is made is to push to its shard.
local h = enter_hub(KEYS[1], KEYS[2], ARGV[1], clock(), ARGV[2], ARGV[4])
if ARGV[3] ~= '' then push(h, ARGV[3], 'L ' .. h.epoch .. ' ' .. text(h.last)) end
return { h.epoch, text(h.last), h.sharded }
