-- Every instance listens where this runs: at the server that has the keys.
if is_sharded then return redis.call('PUBSUB', 'SHARDNUMSUB', EVENTS)[2] end
return redis.call('PUBSUB', 'NUMSUB', EVENTS)[2]
