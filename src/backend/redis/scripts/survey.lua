-- KEYS: hub. ARGV: an epoch to begin if the server may have lost events, 1 if the node accepts a server that evicts keys.
do_without_memory(KEYS[1])
local h = look_at_hub(KEYS[1])
if h.epoch ~= '' then survey(KEYS[1], h, ARGV[1], ARGV[2] == '1') end
return {}
