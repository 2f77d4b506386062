return redis.call('HGET', SNAPSHOT, 'followed') or ''
