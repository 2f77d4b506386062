local resign = redis.call('HMGET', TRIGGERS, 'resign_epoch', 'resign_until_us')
return {
  redis.call('HGET', SNAPSHOT, 'record') or '',
  redis.call('HVALS', COLLECTIONS),
  pending_text(),
  resign[1] and table.concat(resign, ' ') or '',
}
