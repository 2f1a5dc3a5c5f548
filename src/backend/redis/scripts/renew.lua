-- KEYS: hub. ARGV: the lost epoch, the new one, the highest offset that the node knows to have been given in the lost one.
do_without_memory(KEYS[1])
local h = look_at_hub(KEYS[1])
if h.epoch == ARGV[1] then renew(KEYS[1], h, ARGV[2], tonumber(ARGV[3])) end
return h.epoch == '' and ARGV[2] or h.epoch
