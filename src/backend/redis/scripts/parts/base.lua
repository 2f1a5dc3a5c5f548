-- What all scripts share. All numbers that are converted to text are whole and below 2^53, where Lua's doubles are
-- exact.
--
-- Each call of a script creates all of its functions again, so a script contains only the parts that it needs.

local function text(number)
  return string.format('%.0f', number)
end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
