local token, epoch, holder, address = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local since, ttl, until_seen = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local longest_before = longest()
clamp()
local doubt = unknown or lease_number('q_us') > now
local late = now >= until_seen
if is_of(token, epoch) then
  if doubt and late then return answer('TOO_LATE') end
  local lapsed = lease_number('until_us') <= now and 1 or 0
  local until_us = math.max(lease_number('until_us'), now + ttl)
  put('until_us', int(until_us))
  put('ttl_us', int(ttl))
  put('renewals', int(lease_number('renewals') + 1))
  put('holder_generation', generation)
  if unknown then mark(now + longest_before) end
  return answer('RENEWED', until_us, lapsed, lease_number('mark_us'))
end
local newer = epoch >= lease_number('epoch') and epoch > lease_number('released_epoch')
if doubt and not late and newer and (not is_live() or lease_number('epoch') < epoch) then
  if unknown then mark(now + longest_before) end
  put('token', token)
  put('holder', holder)
  put('address', address)
  put('epoch', int(epoch))
  put('since_us', int(since))
  put('until_us', int(now + ttl))
  put('holder_generation', generation)
  put('ttl_us', int(ttl))
  put('renewals', int(lease_number('renewals') + 1))
  return answer('RECLAIMED', now + ttl, lease_number('mark_us'))
end
-- An old copy of the record is no verdict on the claim.
if doubt and late then return answer('TOO_LATE') end
return answer('LOST', lease_number('epoch'))
