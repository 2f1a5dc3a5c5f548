-- Creates the hub if it does not exist, and tells its last offset.
-- KEYS: hub, index.
-- ARGV: those of `enter_hub`, those of `held_of`, life, where to push the offset, 1 if a hub that is created here is to
-- push to its shard, 1 if the node accepts a server that evicts keys.
local hub, index = KEYS[1], KEYS[2]
do_without_memory(hub)
if redis.call('HEXISTS', hub, 'e') == 0 then
  redis.call('HSET', hub, 'e', ARGV[3], 'n', '0', 'd', ARGV[3], 's', ARGV[8], 'g', (lineage()))
  note_evictions(hub, evicted_keys() or '0', ARGV[9] == '1')
  -- The index belongs to another hub, which was lost.
  redis.call('UNLINK', index)
end
enter_hub(hub)
local h, now = look_at_hub(hub), clock()
held_of(hub, h, nil, {}, now, ARGV[4], ARGV[5], true)
keep_hub(hub, index, h, now, tonumber(ARGV[6]))
if ARGV[7] ~= '' then push(h, ARGV[7], 'L ' .. h.epoch .. ' ' .. text(h.last)) end
return { h.epoch, text(h.last), h.sharded }
