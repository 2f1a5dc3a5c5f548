-- What happens to the server that the hub is on.

-- How many offsets are left out if a server may have lost some that it had given: as many as it can have lost.
local LEAP = 16777216

-- Identifies the server and its data, by the id of its process and the id of its replication. The second id changes
-- when a replica is promoted. It sometimes also changes when nothing is lost, for example when a master gets its first
-- replica. The second result is whether the server has been a replica of another one.
local function lineage()
  local answer = info('replication')
  local id, former = string.match(answer, 'master_replid:(%x+)'), string.match(answer, 'master_replid2:(%x+)') or ''
  if not id then return '', false end
  return (string.match(info('server'), 'run_id:(%x+)') or '') .. ' ' .. id, string.find(former, '[^0]') ~= nil
end

-- Leaves out as many offsets as the server may have given and lost, so that none of them is given again.
local function leap(hub, h)
  local from = h.last
  h.last = from + LEAP
  local before = h.leaps or ''
  h.leaps = (#before > 1000 and string.match(before, ' (.*)') or before) .. text(from) .. '-' .. text(h.last) .. ' '
  redis.call('HSET', hub, 'n', text(h.last), 'j', h.leaps)
end

-- Notes how many keys the server has evicted so far. Notes nothing if it has evicted none and the node refuses servers
-- that evict.
local function note_evictions(hub, count, may_evict)
  if may_evict or count ~= '0' then redis.call('HSET', hub, 'v', count) end
end

-- Finds out what has happened to the server. A new epoch begins in two cases: a promoted replica may lack the last
-- events that its master acknowledged, and so may a server that was restarted from its periodic snapshots. A server
-- that writes each command to a file has all events, except for about the last second if its machine failed. A node
-- that knows more reports that.
--
-- Also finds out whether the server may have evicted keys. A server counts them from its start, so nobody knows what it
-- evicted between the last survey and a restart. If no count was noted, it evicted nothing.
local function survey(hub, h, candidate, may_evict)
  local id, was_replica = lineage()
  local known = redis.call('HMGET', hub, 'g', 'v')
  local before, is_another = known[1] or '', false
  if id ~= '' and id ~= before then
    is_another = before ~= '' and string.match(id, '^%x*') ~= string.match(before, '^%x*')
    if before ~= '' and (was_replica or is_another) then
      if was_replica or not string.find(info('persistence'), 'aof_enabled:1', 1, true) then
        renew(hub, h, candidate, 0)
      else
        leap(hub, h)
      end
    end
    redis.call('HSET', hub, 'g', id)
  end
  local count = evicted_keys() or '0'
  if known[2] and is_another or count ~= (known[2] or '0') then
    -- What is missing up to this offset may have been evicted.
    redis.call('HSET', hub, 'z', text(h.last), 'v', count)
  elseif not known[2] then
    note_evictions(hub, count, may_evict)
  end
end
