-- How much is to be held.

-- In milliseconds. What is to be held for as long as FOREVER has no age.
local HOUR, DAY, WEEK, YEAR, FOREVER = 3600000, 86400000, 604800000, 31536000000, 4503599627370496
-- How many numbers say what is to be held.
local LIMITS = 5

-- The numbers of events, bytes and milliseconds; how many more events there are for readers that are connected; and for how many
-- milliseconds, and one, everything is held after the end, or 0.
local function limits(words)
  local events, bytes, age, lag, after = string.match(words, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  return { tonumber(events), tonumber(bytes), tonumber(age), tonumber(lag), tonumber(after) }
end

local function words_of(numbers)
  local words = {}
  for i = 1, LIMITS do words[i] = text(numbers[i]) end
  return table.concat(words, ' ')
end

-- How long a channel holds its events, how many, and whether it holds all of them as long as it holds the last.
local function terms(held, is_finished)
  local age, events, is_whole = held[3], held[1] + held[4], held[5] > 0
  if is_whole then
    -- One in progress is abandoned once nothing has come for a long time.
    local after = held[5] >= FOREVER and FOREVER or math.max(held[5] - 1, 1)
    age, events = is_finished and after or math.max(age, WEEK), math.huge
  end
  return age, events, is_whole
end

-- Takes note, in the hub's hash or in a channel's, that a node asks for so much to be held. Its field `r` has the most of each that
-- was asked for, `ra` when that was last asked for, and `rt` when all of it was noted last: what nobody has asked for in a day gives
-- way to less. It gives what is the most then, and whether that is new.
local function note(hash, most, asked, now, writes)
  local wanted, held = limits(asked), limits(most or '0 0 0 0 0')
  local times, is_new = limits(redis.call('HGET', hash, 'ra') or '0 0 0 0 0'), false
  for i = 1, LIMITS do
    local ago = now - times[i]
    if wanted[i] > held[i] or wanted[i] == held[i] and ago > HOUR or wanted[i] < held[i] and ago > DAY then
      held[i], times[i], is_new = wanted[i], now, true
    end
  end
  most = words_of(held)
  if is_new and writes then
    redis.call('HSET', hash, 'r', most, 'ra', words_of(times))
    if most == asked then redis.call('HSET', hash, 'rt', text(now)) end
  end
  return most, is_new
end

-- The more of each of two.
local function more_of(one, other)
  if not one or not other or one == other then return one or other end
  local most, others = limits(one), limits(other)
  for i = 1, LIMITS do most[i] = math.max(most[i], others[i]) end
  return words_of(most)
end

-- What is to be held of a channel: the most that nodes ask for, of all channels or of this one; or what is given, if nobody asks for
-- anything. What the node asks for, of `all` channels or of `this` one, is noted. The second answer is whether there is anything new
-- to note of the channel, which is not done where nothing is to be written.
local function held_of(hub, h, meta, c, now, of, asked, writes)
  local is_new = false
  if of == 'all' and writes and (h.most ~= asked or now - h.noted > HOUR) then
    h.most = note(hub, h.most, asked, now, true)
  end
  if of ~= '' and c.most or of == 'this' and more_of(h.most, asked) ~= h.most then
    c.most, is_new = note(meta, c.most, asked, now, writes)
  end
  local most = more_of(h.most, c.most) or asked
  return of == 'all' and more_of(most, asked) or most, is_new
end
