local token, epoch, mark_us, id, version, record = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

if not is_confirmed_holder(token, epoch, mark_us) then return { 'NOT_HOLDER' } end
local found = pending()
if found and found[1] == id and found[3] == version then
  redis.call('HDEL', TRIGGERS, unpack(PENDING))
  redis.call('HSET', TRIGGERS, 'begun_id', id, 'begun_token', token)
  redis.call('HSET', COLLECTIONS, id, record)
  publish('collection:' .. record)
  return { 'ACCEPTED' }
end
-- A repetition of a request whose reply was lost. It writes nothing: the collection may have ended meanwhile.
local begun = redis.call('HMGET', TRIGGERS, 'begun_id', 'begun_token')
if begun[1] == id and begun[2] == token then return { 'ACCEPTED' } end
return { 'CHANGED', pending_text() }
