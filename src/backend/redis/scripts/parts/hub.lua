-- The hub.

-- Begins a script with a command that needs no memory. When memory is used up, Redis refuses a script whose first
-- command may need memory. Reading, closing and beginning an epoch need next to none, and have to work then.
local function do_without_memory(hub)
  redis.call('HDEL', hub, '')
end

-- Returns what is known of the hub, with an empty epoch if there is no hub. `birth` is the epoch that the hub began
-- with: a channel with another birth belongs to a hub that was lost. `lost` is the offset that was given to what was
-- lost before the epoch began. A hub that is `sharded` pushes to its shard of a cluster. For `leaps` see `survey`, for
-- `most` and `noted` see `held_of`, for `since` and `shortest` see `remember_life`.
local function look_at_hub(hub)
  local h = redis.call('HMGET', hub, 'e', 'n', 'x', 'w', 'y', 'b', 'd', 's', 'j', 'r', 'rt', 'm1', 'm2')
  return {
    epoch = h[1] or '', last = tonumber(h[2] or 0), until_ = h[3], written = tonumber(h[4] or 0), longest = tonumber(h[5] or 0),
    lost = tonumber(h[6] or 0), birth = h[7], sharded = h[8], leaps = h[9], most = h[10], noted = tonumber(h[11] or 0),
    since = tonumber(h[12] or 0), shortest = tonumber(h[13] or 0),
  }
end

-- Pushes to all subscribers. On a cluster, a sharded hub pushes only on the servers that have its slot.
local function push(h, channel, message)
  redis.call(h.sharded == '1' and 'SPUBLISH' or 'PUBLISH', channel, message)
end

-- Begins a new epoch. Gives no offset again that is known to have been given in the previous epoch, which the hub
-- remembers.
local function renew(hub, h, epoch, known)
  h.last = math.max(h.last, known) + 1
  redis.call('HSET', hub, 'e', epoch, 'n', text(h.last), 'b', text(h.last), 'p', h.epoch, 'j', '')
  h.epoch, h.lost, h.leaps = epoch, h.last, ''
end

-- Returns whether an offset is lost: a node knows that the epoch has given it, and the hub does not know of it.
local function is_lost(h, known)
  if known > h.last then return true end
  if not h.leaps or h.leaps == '' then return false end
  for from, to in string.gmatch(h.leaps, '(%d+)-(%d+)') do
    -- Nodes are told the last of the offsets that are left out. The hub stays there until another offset is given.
    if known > tonumber(from) and known < tonumber(to) then return true end
  end
  return false
end

-- Returns the hub, for a script whose first arguments are: the epoch that the node knows, the highest offset of it that
-- the node knows to have been given, and an epoch to begin if that offset is lost. If the hub's epoch is another one,
-- returns nil and the answer that says so.
local function enter_hub(hub)
  local h = look_at_hub(hub)
  -- Begins a new epoch so that no lost offset is given again. A reader that has seen the lost event would take the new
  -- one for it, or never get it.
  if h.epoch == ARGV[1] and is_lost(h, tonumber(ARGV[2])) then renew(hub, h, ARGV[3], tonumber(ARGV[2])) end
  if h.epoch ~= ARGV[1] then return nil, { 'epoch', h.epoch } end
  return h
end

-- Keeps the hub as long as its longest-lived channel: for `life` from now, or for ever.
local function keep_hub(hub, index, h, now, life)
  if h.until_ == 'ever' then return end
  if life == '' then
    redis.call('HSET', hub, 'x', 'ever')
    redis.call('PERSIST', hub)
    redis.call('PERSIST', index)
  elseif not h.until_ or tonumber(h.until_) < now + life then
    local longer = life + math.floor(life / 8) + 1000
    redis.call('HSET', hub, 'x', text(now + longer))
    redis.call('PEXPIRE', hub, longer)
    redis.call('PEXPIRE', index, longer)
  end
end
