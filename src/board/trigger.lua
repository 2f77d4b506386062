local request, queries, new_id = 'req:' .. ARGV[2], ARGV[3], ARGV[4]
local RETENTION, PRUNE_COUNT = tonumber(ARGV[5]), 50

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

-- A bounded amount of work a call, from where the last one stopped: there may be any number of request ids.
local function prune()
  local cursor = redis.call('HGET', TRIGGERS, 'prune_cursor') or '0'
  local step = redis.call('HSCAN', TRIGGERS, cursor, 'MATCH', 'req:*', 'COUNT', PRUNE_COUNT)
  local fields = step[2]
  for i = 1, #fields, 2 do
    if tonumber(string.match(fields[i + 1], '^%d+')) < now then redis.call('HDEL', TRIGGERS, fields[i]) end
  end
  redis.call('HSET', TRIGGERS, 'prune_cursor', step[1])
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
