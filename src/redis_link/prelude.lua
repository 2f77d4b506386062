-- What every script of ours begins with. KEYS and ARGV[1] are the same in all of them; a script's own arguments begin
-- at ARGV[2]. Times are microseconds since the Unix epoch by this server's clock, read once, so that one script sees
-- one moment.
local LEASE, SNAPSHOT, COLLECTIONS, TRIGGERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local EVENTS = ARGV[1]

local function server_time()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local server = redis.call('INFO', 'server')
-- Valkey says server_mode.
local is_cluster = string.find(server, '_mode:cluster', 1, true) ~= nil
-- Messages go to the nodes of the keys' slot alone, where the server knows that: from 7.0 on.
local is_sharded = is_cluster and tonumber(string.match(server, 'redis_version:(%d+)') or '0') >= 7

-- Changes with every event after which this server may have forgotten a grant: run_id with a restart, master_replid
-- with a promotion. Neither alone sees both. nil on a replica, which may be behind its master.
local function server_generation()
  local run_id = string.match(server, 'run_id:(%w+)')
  local replication = redis.call('INFO', 'replication')
  if not string.find(replication, 'role:master', 1, true) then return nil end
  return run_id .. ':' .. string.match(replication, 'master_replid:(%w+)')
end

local now = server_time()
local generation = server_generation()
if not generation then return redis.error_reply('READONLY not the master') end

-- tostring would turn an epoch into 1.79e+15.
local function int(n)
  return string.format('%.0f', n)
end

local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function publish(message)
  if is_sharded then redis.call('SPUBLISH', EVENTS, message) else redis.call('PUBLISH', EVENTS, message) end
end

-- Every instance listens here, where the keys are.
local function listeners()
  if is_sharded then return redis.call('PUBSUB', 'SHARDNUMSUB', EVENTS)[2] end
  return redis.call('PUBSUB', 'NUMSUB', EVENTS)[2]
end

local lease = hash(LEASE)
local function lease_number(field)
  return tonumber(lease[field] or '0')
end

-- The guard of every write to the board: holder_generation keeps a holder of before a loss of data out, the mark a write
-- of before it.
local function is_confirmed_holder(token, epoch, mark_us)
  return lease.generation == generation and lease.holder_generation == generation
    and lease.token == token and token ~= '' and lease_number('epoch') == tonumber(epoch)
    and lease_number('mark_us') == tonumber(mark_us) and lease_number('until_us') > now
end
