local epoch, until_us = ARGV[2], int(now + tonumber(ARGV[3]))

redis.call('HSET', TRIGGERS, 'resign_epoch', epoch, 'resign_until_us', until_us)
publish('resign:' .. epoch .. ' ' .. until_us)
return { 'ACCEPTED' }
