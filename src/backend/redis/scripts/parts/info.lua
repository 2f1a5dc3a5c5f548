-- What the server says of itself.

-- A section of that; nothing where the user may not ask.
local function info(section)
  local answer = redis.pcall('INFO', section)
  return type(answer) == 'string' and answer or ''
end

-- How many keys it has evicted since it was started.
local function evicted_keys()
  return string.match(info('stats'), 'evicted_keys:(%d+)') or '0'
end
