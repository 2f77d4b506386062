local request, queries, new_id = 'req:' .. ARGV[2], ARGV[3], ARGV[4]
local RETENTION, PRUNE_INTERVAL = tonumber(ARGV[5]), 60000000

local known = redis.call('HGET', TRIGGERS, request)
if known then
  local expire, id, asked = string.match(known, '^(%d+) (%S+) (%S+)')
  if tonumber(expire) >= now then
    return asked == queries and { 'JOINED', id } or { 'REUSED' }
  end
end

-- `names` with those of `queries` that it lacks; itself when it lacks none.
local function union(names)
  local has = {}
  for name in string.gmatch(names, '[^,]+') do has[name] = true end
  for name in string.gmatch(queries, '[^,]+') do
    if not has[name] then names = names .. ',' .. name end
  end
  return names
end

local function write(id, create_us, version, names)
  redis.call('HSET', TRIGGERS, 'pending_id', id, 'pending_create_us', create_us, 'pending_version', version,
    'pending_queries', names)
  publish('pending:' .. pending_text())
end

-- At most once a minute, so that a call does not pay for all calls of the last ten minutes.
local function prune()
  local pruned = tonumber(redis.call('HGET', TRIGGERS, 'pruned_us') or '0')
  if math.abs(now - pruned) < PRUNE_INTERVAL then return end
  for field, value in pairs(hash(TRIGGERS)) do
    if string.sub(field, 1, 4) == 'req:' and tonumber(string.match(value, '^%d+')) < now then
      redis.call('HDEL', TRIGGERS, field)
    end
  end
  redis.call('HSET', TRIGGERS, 'pruned_us', int(now))
end

local reply
local old = pending()
if old then
  local id, create_us, version, names = unpack(old)
  local all = union(names)
  -- The version stays when nothing is added, so that a storm of equal calls cannot keep the holder from beginning.
  if all ~= names then write(id, create_us, int(version + 1), all) end
  reply = { 'JOINED', id }
else
  write(new_id, int(now), '1', queries)
  reply = { 'CREATED', new_id }
end
prune()
redis.call('HSET', TRIGGERS, request, int(now + RETENTION) .. ' ' .. reply[2] .. ' ' .. queries)
return reply
