-- ARGV: token, epoch, revision and record of the snapshot or '' twice, the number of collections, then id and record of
-- each, then the ids to forget.
local token, epoch, revision, record, count = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

if not is_confirmed_holder(token, epoch) then return { 'NOT_HOLDER' } end

-- Stored already by a request whose reply was lost: then it is told, and only the rest is written.
local function is_repeated(stored)
  return stored.token == token and stored.epoch == epoch and stored.revision == revision and stored.record == record
end

if revision ~= '' then
  local stored = hash(SNAPSHOT)
  if not is_repeated(stored) then
    -- Neither may go back: readers order by both, and watchers by the revision alone.
    if tonumber(epoch) < tonumber(stored.epoch or '0') or tonumber(revision) <= tonumber(stored.revision or '0') then
      return { 'NOT_HOLDER' }
    end
    redis.call('HSET', SNAPSHOT, 'epoch', epoch, 'revision', revision, 'token', token, 'record', record)
  end
  publish('snapshot:' .. record)
end
for i = 1, count do
  local id, collection = ARGV[5 + 2 * i], ARGV[6 + 2 * i]
  redis.call('HSET', COLLECTIONS, id, collection)
  publish('collection:' .. collection)
end
local forgotten = {}
for i = 7 + 2 * count, #ARGV do
  redis.call('HDEL', COLLECTIONS, ARGV[i])
  forgotten[#forgotten + 1] = ARGV[i]
end
if #forgotten > 0 then publish('forgotten:' .. table.concat(forgotten, ' ')) end
return { 'ACCEPTED' }
