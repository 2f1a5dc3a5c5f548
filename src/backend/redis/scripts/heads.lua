-- KEYS: hub, index, metas. ARGV: those of `enter_hub`.
local h = look_at_hub(KEYS[1])
if h.epoch ~= ARGV[1] then return { 'epoch', h.epoch } end
local mark = text(unremembered(KEYS[1], KEYS[2], h, clock()))
local heads = {}
for i = 3, #KEYS do
  local m = redis.call('HMGET', KEYS[i], 'l', 'd', 'x', 'c')
  local last, forgotten = '0', '0'
  if not m[1] then
    forgotten = mark
  elseif m[2] == h.birth then
    last, forgotten = m[1], m[3] or '0'
  end
  heads[i - 2] = { last, forgotten, m[4] or '0' }
end
return { 'heads', text(h.last), heads }
