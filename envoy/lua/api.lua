-- On the JSON routes of our services: what transcoding cannot say.
--
-- * 64-bit integers are numbers, though proto3 JSON prints them as strings.
-- * A service may name the HTTP status of a success in the header x-http-status.
-- * A failed call gets {"error", "message"}, with the code that the service named in
--   x-error-code or else the one of its gRPC status.
-- * A query parameter that is a number must look like one: 422, where the transcoder says 400.
--   A limit may be of any size.
--
-- It stands before the transcoder in the filter list and so sees transcoded answers. A gRPC
-- client's call passes untouched.

local byte, find, sub = string.byte, string.find, string.sub

-- Messages whose keys are all ours, so that no user text can look like a declared field: inside
-- a JSON string every quote is escaped.
local int64_fields = {
  watermark_ms = true, row_count = true, n = true, distinct_observed = true, cap = true,
  ts_ms = true, documents_scanned = true, stable_as_of = true, unique_values = true,
  count = true, elapsed_ms = true, total = true, documents_resumed = true,
}

-- Entries hold user JSON (`query`), so the field is taken only where the entry itself has it.
local nanos_in_entry = '("timestamp":"%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z","timestamp_nanos":)"(%d+)"'

local integer_parameters = { limit = true, since = true, page_size = true, offset = true }

-- A limit above the cap is capped, not refused, whatever its size.
local limit_beyond_int32 = "([?&]limit=)[1-9]%d%d%d%d%d%d%d%d%d+"

local http_status = {
  validation_error = "422", bad_request = "400", unauthorized = "401", forbidden = "403",
  not_found = "404", cache_cold = "503", service_unavailable = "503", upstream_error = "502",
  too_many_requests = "429", payload_too_large = "413", timeout = "504", internal = "500",
  not_implemented = "501",
}

-- https://grpc.github.io/grpc/core/md_doc_statuscodes.html
local error_code = {
  ["2"] = "internal", ["3"] = "validation_error", ["4"] = "timeout", ["5"] = "not_found",
  ["7"] = "forbidden", ["8"] = "too_many_requests", ["12"] = "not_implemented",
  ["13"] = "internal", ["14"] = "service_unavailable", ["16"] = "unauthorized",
}

local function decode_percent(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- A service that names no code was not reached by the call: gRPC itself refused it.
local function code_of(status, message)
  if status == "8" and message:find("larger than max", 1, true) then
    return "payload_too_large"
  end
  return error_code[status] or "internal"
end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return escapes[c] or string.format("\\u%04x", c:byte())
  end) .. '"'
end

local function error_body(code, message)
  return '{"error":' .. quote(code) .. ',"message":' .. quote(message) .. "}"
end

local function bad_integer(path)
  local query = path:match("%?(.*)$")
  for name, value in (query or ""):gmatch("([^&=]+)=([^&]*)") do
    local text = decode_percent(value)
    -- 18 digits always fit an int64.
    if integer_parameters[name] and not (text:match("^%-?%d+$") and #text <= 18) then
      return name
    end
  end
  return nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local grpc = (headers:get("content-type") or ""):match("^application/grpc") ~= nil
  handle:streamInfo():dynamicMetadata():set("layer.api", "grpc", grpc)
  if grpc then
    return
  end
  local path, large = headers:get(":path"):gsub(limit_beyond_int32, "%12147483647")
  if large > 0 then
    headers:replace(":path", path)
  end
  local name = bad_integer(path)
  if name ~= nil then
    handle:respond({ [":status"] = "422" }, name .. " must be a whole number")
  end
end

local internal_headers = {
  "grpc-status", "grpc-message", "grpc-accept-encoding", "x-error-code", "x-http-status",
}

-- Replaces the whole answer. Objects taken before body() are dead after it, so headers are read
-- by the caller and taken anew here.
local function answer(handle, status, text)
  local body = handle:body(true)
  body:setBytes(text)
  local headers = handle:headers()
  if status ~= nil then
    headers:replace(":status", status)
  end
  headers:replace("content-type", "application/json")
  headers:replace("content-length", tostring(#text))
  for _, name in ipairs(internal_headers) do
    headers:remove(name)
  end
end

local QUOTE, MINUS, ZERO, NINE = byte('"-09', 1, 4)

-- The position after the integer that begins at one; that one when none does.
local function after_integer(text, first)
  local start = byte(text, first) == MINUS and first + 1 or first
  local at, digit = start, byte(text, start)
  while digit ~= nil and digit >= ZERO and digit <= NINE do
    at = at + 1
    digit = byte(text, at)
  end
  return at > start and at or first
end

-- The name that ends before a quote.
local function name_before(text, quote_at)
  local start = quote_at - 1
  while byte(text, start) ~= QUOTE do
    start = start - 1
  end
  return sub(text, start + 1, quote_at - 1)
end

-- Queries of this worker wait meanwhile, so it is made for a body of 80,000 counts: one pass that
-- LuaJIT compiles, 10 ms where `gsub` takes 27.
local function declared_unquoted(text)
  local pieces, count, from = {}, 0, 1
  local at = find(text, '":"', 1, true)
  while at ~= nil do
    local first = at + 3
    local stop = after_integer(text, first)
    if stop > first and byte(text, stop) == QUOTE and int64_fields[name_before(text, at)] then
      pieces[count + 1] = sub(text, from, at + 1)
      pieces[count + 2] = sub(text, first, stop - 1)
      count, from = count + 2, stop + 1
    end
    at = find(text, '":"', stop, true)
  end
  pieces[count + 1] = sub(text, from)
  return table.concat(pieces)
end

local function numbers_unquoted(text, route)
  if route:get("entries") then
    return (text:gsub(nanos_in_entry, "%1%2"))
  end
  return declared_unquoted(text)
end

function envoy_on_response(handle)
  local meta = handle:streamInfo():dynamicMetadata():get("layer.api")
  if meta == nil or meta.grpc then
    return
  end
  local headers = handle:headers()
  local grpc_status = headers:get("grpc-status")
  local http = headers:get("x-http-status")
  if grpc_status ~= nil and grpc_status ~= "0" then
    local message = decode_percent(headers:get("grpc-message") or "")
    local code = headers:get("x-error-code") or code_of(grpc_status, message)
    answer(handle, http_status[code] or "500", error_body(code, message))
    return
  end
  if headers:get("content-type") ~= "application/json" then
    return
  end

  local body = handle:body(true)
  local text = body:getBytes(0, body:length())
  -- The transcoder's own refusal of a value of the wrong type, in a body that is valid JSON.
  if text:match('^{"error":"bad_request","message":"[%w_.%[%]]+: invalid value ') then
    answer(handle, "422", (text:gsub("bad_request", "validation_error", 1)))
    return
  end
  -- A stream may fail after its first message; nothing has left yet, so the caller still gets
  -- a true error and not half an array.
  local trailers = handle:trailers()
  local late_status = trailers and trailers:get("grpc-status")
  if late_status ~= nil and late_status ~= "0" then
    local message = decode_percent(trailers:get("grpc-message") or "")
    local code = trailers:get("x-error-code") or code_of(late_status, message)
    answer(handle, http_status[code] or "500", error_body(code, message))
    return
  end
  local route = handle:metadata()
  if not route:get("verbatim") then
    text = numbers_unquoted(text, route)
  end
  answer(handle, http, text)
end
