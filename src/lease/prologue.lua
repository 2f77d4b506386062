-- What the four scripts of the lease share, after the prelude: lease_protocol.rs line by line. ARGV[2] is the
-- quarantine, ARGV[3] the meaning of a missing record; a script's own arguments begin at ARGV[4].
local QUARANTINE, IMMEDIATE = tonumber(ARGV[2]), ARGV[3] == 'immediate'

local missing = next(lease) == nil
local unknown = lease.generation ~= generation

local changed = {}
local function put(field, value)
  lease[field] = value
  changed[#changed + 1] = field
  changed[#changed + 1] = value
end

local function margin(ttl)
  if ttl < 2000000 then return math.floor(ttl / 8) end
  return math.max(math.floor(ttl / 20), 250000)
end

-- The longest time for which a claim that this record does not show may still be believed in.
local function longest()
  local ttl = lease_number('ttl_us')
  return math.max(QUARANTINE, ttl + margin(ttl))
end

local function clamped_until()
  return math.min(lease_number('until_us'), now + lease_number('ttl_us'))
end

local function clamped_quarantine()
  return math.min(lease_number('q_us'), now + longest())
end

local function is_live()
  return (lease.token or '') ~= '' and lease_number('until_us') > now
end

local function is_of(token, epoch)
  return token ~= '' and lease.token == token and lease_number('epoch') == epoch
end

-- After this server's clock went back, nobody waits longer than an end that was written now.
local function clamp()
  if missing then return end
  local until_us, q_us = clamped_until(), clamped_quarantine()
  if until_us ~= lease_number('until_us') then put('until_us', int(until_us)) end
  if q_us ~= lease_number('q_us') then put('q_us', int(q_us)) end
end

-- Notes that the past was unknown. All of it together, always: a generation without its quarantine lets a second holder
-- in beside a living one, and one without its moment lets writes of before come after.
local function mark(q_us)
  put('v', '1')
  put('q_us', int(math.max(lease_number('q_us'), q_us)))
  put('mark_us', int(math.max(now, lease_number('mark_us') + 1)))
  put('generation', generation)
end

local function standing()
  local remaining, quarantine = 0, math.max(clamped_quarantine() - now, 0)
  if (lease.token or '') ~= '' then remaining = math.max(clamped_until() - now, 0) end
  if next(lease) == nil and IMMEDIATE then
    quarantine = 0
  elseif lease.generation ~= generation then
    quarantine = longest()
  end
  local state = 'FREE'
  if remaining > 0 and lease.holder_generation == generation then
    state = 'HELD'
  elseif quarantine > 0 then
    state = 'QUARANTINED'
  end
  return { now, state, lease.holder or '', lease.address or '', lease_number('epoch'), lease_number('since_us'),
    clamped_until(), lease_number('ttl_us'), remaining, quarantine }
end

-- Every way out of a script: what it changed is written, whatever the reply.
local function answer(...)
  if #changed > 0 then redis.call('HSET', LEASE, unpack(changed)) end
  return { { ... }, standing(), tonumber(redis.call('HGET', SNAPSHOT, 'revision') or 0) }
end
