-- How much is to be held.

-- Durations in milliseconds. An age of FOREVER means no limit.
local HOUR, DAY, WEEK, YEAR, FOREVER = 3600000, 86400000, 604800000, 31536000000, 4503599627370496
-- The number of values that say how much is to be held.
local LIMITS = 5

-- Reads the numbers of events, bytes and milliseconds; the number of additional events for connected readers; and for
-- how many milliseconds, plus one, everything is held after the end, or 0.
local function limits(words)
  local events, bytes, age, lag, after = string.match(words, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  return { tonumber(events), tonumber(bytes), tonumber(age), tonumber(lag), tonumber(after) }
end

local function words_of(numbers)
  local words = {}
  for i = 1, LIMITS do words[i] = text(numbers[i]) end
  return table.concat(words, ' ')
end

-- Returns how long a channel holds its events, how many, and whether it holds all of them as long as it holds the last.
local function terms(held, is_finished)
  local age, events, is_whole = held[3], held[1] + held[4], held[5] > 0
  if is_whole then
    -- A channel in progress is abandoned once nothing has arrived for a long time.
    local after = held[5] >= FOREVER and FOREVER or math.max(held[5] - 1, 1)
    age, events = is_finished and after or math.max(age, WEEK), math.huge
  end
  return age, events, is_whole
end

-- Notes in the hash of the hub or of a channel how much a node asks to be held. The field `r` has the highest value of
-- each limit that was asked for, `ra` the times at which each was last asked for, and `rt` the time at which all of
-- them were last noted. A limit that nobody has asked for in a day gives way to a lower one. Returns the highest
-- limits, and whether there was anything new to note.
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

-- Returns the higher value of each limit.
local function more_of(one, other)
  if not one or not other or one == other then return one or other end
  local most, others = limits(one), limits(other)
  for i = 1, LIMITS do most[i] = math.max(most[i], others[i]) end
  return words_of(most)
end

-- Returns what is to be held of a channel: the most that nodes ask for, for all channels or for this one. If nobody
-- asks for anything, it is what is given. Notes what the node asks for, for `all` channels or for `this` one. The
-- second result is whether there is anything new to note for the channel. If `writes` is false, nothing is noted.
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
