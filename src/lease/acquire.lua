local token, holder, address, ttl, floor = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

local longest_before = longest()
clamp()
if unknown then
  mark((missing and floor == 0 and IMMEDIATE) and 0 or now + longest_before)
end
if is_live() then
  -- Ours, when this repeats a request whose reply was lost; never while a quarantine runs.
  if lease.token == token and lease_number('q_us') <= now then
    put('until_us', int(math.max(lease_number('until_us'), now + ttl)))
    return answer('GRANTED', lease_number('epoch'), lease_number('until_us'), lease_number('since_us'),
      lease_number('mark_us'))
  end
  return answer('HELD', math.max(lease_number('until_us'), lease_number('q_us')) - now)
end
if lease_number('q_us') > now then
  return answer('QUARANTINED', lease_number('q_us') - now)
end
-- Compare-and-swap: a late duplicate must not grant to a token that nobody uses any more.
if floor < lease_number('epoch') then
  return answer('STALE', lease_number('epoch'))
end
local epoch = math.max(lease_number('epoch') + 1, now, floor + 1)
put('token', token)
put('holder', holder)
put('address', address)
put('epoch', int(epoch))
put('since_us', int(now))
put('until_us', int(now + ttl))
put('generation', generation)
put('holder_generation', generation)
put('ttl_us', int(ttl))
put('renewals', '0')
publish('granted:' .. int(epoch))
return answer('GRANTED', epoch, now + ttl, now, lease_number('mark_us'))
