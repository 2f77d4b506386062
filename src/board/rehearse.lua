-- Every command that a script of ours calls, once: whoever may not do one of them hears of it here. Nothing is left of
-- it, and no instance heeds a message of this kind.
redis.call('HSET', TRIGGERS, 'rehearsal', '1')
redis.call('HGET', TRIGGERS, 'rehearsal')
redis.call('HMGET', TRIGGERS, 'rehearsal')
redis.call('HSCAN', TRIGGERS, '0', 'COUNT', '1')
redis.call('HDEL', TRIGGERS, 'rehearsal')
redis.call('HVALS', COLLECTIONS)
publish('rehearsal:')
listeners()
return { 'ACCEPTED' }
