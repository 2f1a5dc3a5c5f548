-- What the server says about itself.

-- Returns a section of `INFO`, or an empty text if the user may not read it.
local function info(section)
  local answer = redis.pcall('INFO', section)
  return type(answer) == 'string' and answer or ''
end

-- Returns how many keys the server has evicted since it was started, or nil if the user may not know.
local function evicted_keys()
  local stats = info('stats')
  return stats ~= '' and (string.match(stats, 'evicted_keys:(%d+)') or '0') or nil
end
