-- ARGV: token, epoch and mark, revision and record of the snapshot or '' twice, what is followed or '', the number of
-- collections, then id and record of each, then the ids to forget.
local token, epoch, mark_us, revision, record, followed = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local count = tonumber(ARGV[8])

if not is_confirmed_holder(token, epoch, mark_us) then return { 'NOT_HOLDER' } end

-- Stored already by a request whose reply was lost: then it is told, and only the rest is written.
local function is_repeated(stored)
  return stored[1] == epoch and stored[2] == revision and stored[3] == token and stored[4] == record
end

if revision ~= '' then
  local stored = redis.call('HMGET', SNAPSHOT, 'epoch', 'revision', 'token', 'record')
  if not is_repeated(stored) then
    -- Neither may go back: readers order by both, and watchers by the revision alone.
    if tonumber(epoch) < tonumber(stored[1] or '0') or tonumber(revision) <= tonumber(stored[2] or '0') then
      return { 'NOT_HOLDER' }
    end
    redis.call('HSET', SNAPSHOT, 'epoch', epoch, 'revision', revision, 'token', token, 'record', record)
  end
  publish('snapshot:' .. record)
end
-- Only the next holder reads it.
if followed ~= '' then redis.call('HSET', SNAPSHOT, 'followed', followed) end
for i = 1, count do
  local id, collection = ARGV[7 + 2 * i], ARGV[8 + 2 * i]
  redis.call('HSET', COLLECTIONS, id, collection)
  publish('collection:' .. collection)
end
local forgotten = {}
for i = 9 + 2 * count, #ARGV do
  redis.call('HDEL', COLLECTIONS, ARGV[i])
  forgotten[#forgotten + 1] = ARGV[i]
end
if #forgotten > 0 then publish('forgotten:' .. table.concat(forgotten, ' ')) end
return { 'ACCEPTED' }
