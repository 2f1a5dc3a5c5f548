-- What happens to the server that the hub is on.

-- The offsets that are left out where a server may have lost some that it had given: as many as it can have lost.
local LEAP = 16777216

-- Which server this is, and what its data are: the id of its process, and that of its replication. The second changes when a
-- replica is promoted, and at times with nothing lost, as when a master gets its first replica. The second answer is whether the
-- server has been a replica of another one.
local function lineage()
  local answer = info('replication')
  local id, former = string.match(answer, 'master_replid:(%x+)'), string.match(answer, 'master_replid2:(%x+)') or ''
  if not id then return '', false end
  return (string.match(info('server'), 'run_id:(%x+)') or '') .. ' ' .. id, string.find(former, '[^0]') ~= nil
end

-- Leaves out as many offsets as the server may have given and lost, so that none is given again.
local function leap(hub, h)
  local from = h.last
  h.last = from + LEAP
  local before = h.leaps or ''
  h.leaps = (#before > 1000 and string.match(before, ' (.*)') or before) .. text(from) .. '-' .. text(h.last) .. ' '
  redis.call('HSET', hub, 'n', text(h.last), 'j', h.leaps)
end

-- Takes notice of what has happened to the server. A replica that was promoted may lack the last events that its master
-- acknowledged, and so does a server that was started with what it had saved at times: a new epoch begins. One that writes each
-- command to a file has all of them, but for the last second or so if its machine was gone: a node that knows better tells.
local function survey(hub, h, candidate)
  local id, was_replica = lineage()
  local known = redis.call('HMGET', hub, 'g', 'v')
  local before = known[1] or ''
  if id ~= '' and id ~= before then
    local is_another = string.match(id, '^%x*') ~= string.match(before, '^%x*')
    if before ~= '' and (was_replica or is_another) then
      if was_replica or not string.find(info('persistence'), 'aof_enabled:1', 1, true) then
        renew(hub, h, candidate, 0)
      else
        leap(hub, h)
      end
    end
    redis.call('HSET', hub, 'g', id)
  end
  -- Up to here, what is missing may have been evicted.
  local count = evicted_keys()
  if count ~= '0' and count ~= known[2] then redis.call('HSET', hub, 'z', text(h.last), 'v', count) end
end
