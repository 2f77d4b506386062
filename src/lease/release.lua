local token, epoch = ARGV[4], tonumber(ARGV[5])

-- Epoch 0: the caller was granted the lease, if at all, by an answer that it never got.
if token == '' or lease.token ~= token or (epoch ~= 0 and epoch ~= lease_number('epoch')) then
  return answer('NOT_HELD')
end
put('token', '')
put('until_us', '0')
put('released_epoch', int(math.max(lease_number('released_epoch'), lease_number('epoch'))))
publish('released:' .. int(lease_number('epoch')))
return answer('RELEASED', lease_number('epoch'))
