-- Runs first on every request: keys, and headers that only this gateway may set.
--
-- LAYER_GATEWAY_API_KEY is read from the environment so that no key stands in the configuration
-- or in Envoy's config dump. Health and readiness stay open.

local function load_keys()
  local text = os.getenv("LAYER_GATEWAY_API_KEY")
  if text == nil then
    return nil
  end
  if text:sub(1, 1) == "@" then
    local file = assert(io.open(text:sub(2), "r"))
    text = file:read("*a"):gsub("\n", ",")
    file:close()
  end
  local keys = {}
  for key in text:gmatch("[^,]+") do
    key = key:match("^%s*(.-)%s*$")
    if key ~= "" then
      keys[#keys + 1] = key
    end
  end
  return keys
end

local keys = load_keys()

-- The time depends on the length of what was given, never on how much of it is right.
local function same(given, key)
  local difference = bit.bxor(#given, #key)
  for i = 1, #given do
    local at = (i - 1) % #key + 1
    difference = bit.bor(difference, bit.bxor(given:byte(i), key:byte(at)))
  end
  return difference == 0
end

local function allowed(authorization)
  local scheme, given = (authorization or ""):match("^(%a+) +(.-)%s*$")
  if given == nil or scheme:lower() ~= "bearer" then
    return false
  end
  local found = false
  for _, key in ipairs(keys) do
    -- No early exit: which key matched must not show in the time.
    found = same(given, key) or found
  end
  return found
end

local open_paths = {
  ["/healthz"] = true,
  ["/readyz"] = true,
  ["/grpc.health.v1.Health/Check"] = true,
  ["/grpc.health.v1.Health/Watch"] = true,
}

local function is_traceparent(value)
  return value ~= nil
    and value:match("^00%-(%x+)%-%x+%-%x%x$") ~= nil
    and #value == 55
    and not value:match("^00%-0+%-")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path"):match("^[^?]*")

  if keys ~= nil and not open_paths[path] and not allowed(headers:get("authorization")) then
    handle:respond({ [":status"] = "401" }, "a valid API key is required: Authorization: Bearer <key>")
    return
  end

  -- The local reply configuration tells a failing Turbopuffer from a failing service by this. The
  -- headers below are for our services alone: the routes to the upstream remove them.
  if handle:metadata():get("upstream") then
    handle:streamInfo():dynamicMetadata():set("layer.route", "upstream", true)
    return
  end

  -- Services tell a caller's trace from one that Envoy mints after this filter.
  if is_traceparent(headers:get("traceparent")) then
    headers:remove("x-layer-trace-origin")
  else
    headers:replace("x-layer-trace-origin", "minted")
  end

  -- What replicas are chosen by. gRPC clients, whose path names no namespace, may set it.
  local namespace = path:match("^/v[12]/namespaces/([^/]+)")
  if namespace ~= nil then
    headers:replace("x-layer-namespace", namespace)
  end
end
