-- On query routes: copies the first bytes of request and answer beside the stream, for the access
-- log to ship in batches. The query itself flows on as it comes and is never held.

local LIMIT = 64 * 1024

-- Reads chunks as they pass; answers the first LIMIT bytes and whether there were more.
local function capture(handle)
  local parts, held, truncated = {}, 0, false
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if held < LIMIT and length > 0 then
      local take = math.min(length, LIMIT - held)
      parts[#parts + 1] = chunk:getBytes(0, take)
      held = held + take
      truncated = truncated or take < length
    elseif length > 0 then
      truncated = true
    end
  end
  -- Encoded because metadata strings are UTF-8 and a body may be compressed.
  return handle:base64Escape(table.concat(parts)), truncated
end

local function keep(handle, name, text, truncated)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("layer.tap", name .. "_b64", text)
  metadata:set("layer.tap", name .. "_truncated", truncated)
end

function envoy_on_request(handle)
  local namespace = handle:headers():get(":path"):match("^/v[12]/namespaces/([^/?]+)")
  handle:streamInfo():dynamicMetadata():set("layer.tap", "namespace", namespace or "")
  local text, truncated = capture(handle)
  keep(handle, "request", text, truncated)
end

function envoy_on_response(handle)
  local text, truncated = capture(handle)
  keep(handle, "response", text, truncated)
end
