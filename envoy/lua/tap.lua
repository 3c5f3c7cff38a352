-- On query routes: copies the first bytes of request and answer beside the stream, for the access
-- log to ship in batches. The query itself flows on as it comes and is never held.

local LIMIT = 64 * 1024

local function keep(handle, name, parts, truncated)
  -- Encoded because metadata strings are UTF-8 and a body may be compressed.
  local text = handle:base64Escape(table.concat(parts))
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("layer.tap", name .. "_b64", text)
  metadata:set("layer.tap", name .. "_truncated", truncated)
end

-- Reads chunks as they pass and keeps the first LIMIT bytes, and whether there were more.
--
-- With a content-length it keeps them as soon as all are there: over HTTP/2 the end of the stream
-- may be a frame of its own, and the upstream may have answered before it comes.
local function capture(handle, name)
  local expected = tonumber(handle:headers():get("content-length") or "")
  local parts, received, held, truncated, kept = {}, 0, 0, false, false
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local take = math.min(length, LIMIT - held)
    if take > 0 then
      parts[#parts + 1] = chunk:getBytes(0, take)
      held = held + take
    end
    received = received + length
    truncated = truncated or take < length
    if not kept and received == expected then
      keep(handle, name, parts, truncated)
      kept = true
    end
  end
  if not kept then
    keep(handle, name, parts, truncated)
  end
end

function envoy_on_request(handle)
  local namespace = handle:headers():get(":path"):match("^/v[12]/namespaces/([^/?]+)")
  handle:streamInfo():dynamicMetadata():set("layer.tap", "namespace", namespace or "")
  capture(handle, "request")
end

function envoy_on_response(handle)
  capture(handle, "response")
end
