-- Tells DocumentService of writes, so that it serves no document from before them.
--
-- A write is announced before it is forwarded and again before its answer goes out; its body
-- streams by untouched. An unreachable DocumentService delays a write by the time limits below
-- and never stops it. When the second notice does not arrive, this filter remembers that it owes
-- it: until it is delivered, fetches from the namespace through this worker do not use the cache.

local BEGIN_MS = 250
-- Twice as long in all: services/document/generations.py counts on that.
local END_MS = 1000
-- A replica that was killed refuses at once, and is picked until its health checks have failed: of
-- two, one that lives is then missed once in 64 times.
local END_TRIES = 6
local OWED = 100000

local SERVICE = "/layer.document.v2.DocumentService/"

local owed = {}
local owed_count = 0

local function decode_percent(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- A gRPC frame of a message whose field 1 is the namespace, of 128 bytes at most.
local function frame(namespace)
  local length = #namespace < 128 and string.char(#namespace) or string.char(128, 1)
  local message = string.char(10) .. length .. namespace
  return string.char(0, 0, 0, 0, #message) .. message
end

-- Whether DocumentService has taken the notice, or never will.
local function notify(handle, method, namespace, timeout_ms)
  local headers = {
    [":method"] = "POST", [":path"] = SERVICE .. method, [":authority"] = "document",
    ["content-type"] = "application/grpc", ["te"] = "trailers",
  }
  local key = os.getenv("LAYER_INTERNAL_KEY")
  if key ~= nil and key ~= "" then
    headers["authorization"] = "Bearer " .. key
  end
  local answer, body = handle:httpCall("document", headers, frame(namespace), timeout_ms)
  -- A success has a frame, even if its message is empty; a failure has none. 3 is
  -- INVALID_ARGUMENT: no such namespace can exist.
  return answer[":status"] == "200" and (#(body or "") >= 5 or answer["grpc-status"] == "3")
end

local function owe(handle, namespace)
  if owed[namespace] == nil then
    if owed_count >= OWED then
      handle:logErr("too many namespaces owed: documents may be as old as the cache keeps them")
      return
    end
    owed[namespace] = true
    owed_count = owed_count + 1
  end
end

local function settled(namespace)
  if owed[namespace] ~= nil then
    owed[namespace] = nil
    owed_count = owed_count - 1
  end
end

local function begin_write(handle, namespace)
  notify(handle, "BeginWrite", namespace, BEGIN_MS)
  handle:streamInfo():dynamicMetadata():set("layer.freshness", "namespace", namespace)
end

-- Whether a replica has taken the notice, of however many had to be tried.
local function end_write(handle, namespace)
  local deadline = tonumber(handle:timestamp()) + 2 * END_MS
  for _ = 1, END_TRIES do
    local left = deadline - tonumber(handle:timestamp())
    if left <= 0 then
      return false
    end
    if notify(handle, "EndWrite", namespace, math.min(left, END_MS)) then
      return true
    end
  end
  return false
end

local function before_fetch(handle, namespace)
  if owed[namespace] == nil then
    return
  end
  if notify(handle, "EndWrite", namespace, BEGIN_MS) then
    settled(namespace)
  else
    handle:headers():replace("x-layer-cache-uncertain", "1")
  end
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path"):match("^[^?]*")
  local raw, rest = path:match("^/v[12]/namespaces/([^/]+)(.*)$")
  local namespace = raw and decode_percent(raw)
  if namespace == nil or #namespace > 128 then
    return
  end
  if rest:match("^/documents") then
    before_fetch(handle, namespace)
  elseif not rest:match("^/_debug/") and not rest:match("^/explain_query") then
    begin_write(handle, namespace)
  end
end

function envoy_on_response(handle)
  local write = handle:streamInfo():dynamicMetadata():get("layer.freshness")
  if write == nil then
    return
  end
  local namespace = write["namespace"]
  if end_write(handle, namespace) then
    settled(namespace)
  else
    owe(handle, namespace)
  end
end
