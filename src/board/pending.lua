-- What the scripts of the board share, after the prelude: the pending collection. It lies only here, in the fields
-- pending_* of the triggers; as text, in replies and messages, it is "id create_us version queries".
local PENDING = { 'pending_id', 'pending_create_us', 'pending_version', 'pending_queries' }

-- Its four fields in the order of PENDING; nil when nothing is pending.
local function pending()
  local fields = redis.call('HMGET', TRIGGERS, unpack(PENDING))
  if fields[1] then return fields end
end

local function pending_text()
  local fields = pending()
  return fields and table.concat(fields, ' ') or ''
end
