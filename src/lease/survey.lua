-- Without the prelude: a replica answers this too.
return { redis.call('INFO', 'server'), redis.call('INFO', 'memory'), redis.call('INFO', 'replication') }
