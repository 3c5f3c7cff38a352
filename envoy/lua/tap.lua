-- On query routes: copies the first bytes of request and answer beside the stream, for the access
-- log to ship in batches. The query itself flows on as it comes and is never held.
--
-- What nobody will read does not leave Envoy: a vector is replaced by its shape, and an answer by
-- the ids of its rows. Most of a query's bytes are its vector (1,536 dimensions: 17 kB of 17.3)
-- and most of an answer's are attributes; shipping them costs Envoy, the network and
-- SearchLogService more than all the rest of the tap.

-- A request of 10,752 dimensions, the most that Turbopuffer has, is 230 kB.
local HELD = { request = 256 * 1024, response = 64 * 1024 }
local SHIPPED = 64 * 1024

-- Shorter vectors are cheaper to ship than to find.
local LONG = 128
-- What vectors stand behind, and where one begins after it: in `rank_by`, and in the form of the
-- `hevlayer` client.
local VECTORS_BEHIND = {
  ['"ANN"'] = "^%s*,%s*()%[",
  ['"kNN"'] = "^%s*,%s*()%[",
  ['"vector"'] = "^%s*:%s*()%[",
}

local CLOSING_BRACE = ("}"):byte()

local find, match, sub, concat = string.find, string.match, string.sub, table.concat

-- Whether the array between two brackets holds only numbers: they stand outside of strings, so
-- neither a string nor another array can hide in it.
local function is_flat(text, open, close)
  for _, mark in ipairs({ '"', "[", "{" }) do
    local at = find(text, mark, open + 1, true)
    if at ~= nil and at < close then
      return false
    end
  end
  return true
end

-- Elements of a flat array that is not empty.
local function length_of(text, open, close)
  local count, at = 1, find(text, ",", open, true)
  while at ~= nil and at < close do
    count = count + 1
    at = find(text, ",", at + 1, true)
  end
  return count
end

-- The JSON text with the long vectors behind a key replaced by shapes, `"f32[1536]"`. The upstream
-- refuses such text for a vector, so that it cannot be what the caller sent.
--
-- An unescaped quote is never inside of a string, so `"ANN"` is a string of its own wherever it
-- stands, or the end of one in text that is no JSON.
local function with_shapes(text, key, opening)
  local pieces, from, at = {}, 1, 1
  while true do
    local _, stop = find(text, key, at, true)
    if stop == nil then
      break
    end
    at = stop + 1
    local open = match(text, opening, at)
    local close = open and find(text, "]", open, true)
    if close and close - open > LONG and is_flat(text, open, close) then
      pieces[#pieces + 1] = sub(text, from, open - 1)
      pieces[#pieces + 1] = '"f32[' .. length_of(text, open, close) .. ']"'
      from, at = close + 1, close + 1
    end
  end
  if from == 1 then
    return text
  end
  pieces[#pieces + 1] = sub(text, from)
  return concat(pieces)
end

local function shorten_request(text)
  if #text > LONG then
    for key, opening in pairs(VECTORS_BEHIND) do
      text = with_shapes(text, key, opening)
    end
  end
  return text
end

-- The answer to a single query whose rows begin with their ids, as Turbopuffer writes them, reduced
-- to those; any other text as it is. Attributes hold no objects, so that `{"id":` outside of a
-- string is a row.
local function shorten_response(text)
  if not find(text, '^{"rows":%[{"id":') then
    return text
  end
  local rows, at = {}, 1
  while true do
    local _, stop = find(text, '{"id":', at, true)
    if stop == nil then
      break
    end
    at = stop + 1
    local id = match(text, "^(%d+)[,}]", at) or match(text, '^("[^"\\]*")[,}]', at)
    if id == nil then
      return text
    end
    rows[#rows + 1] = '{"id":' .. id .. "}"
  end
  return '{"rows":[' .. concat(rows, ",") .. "]}"
end

local SHORTEN = { request = shorten_request, response = shorten_response }

local function keep(handle, name, parts, truncated)
  local text = SHORTEN[name](concat(parts))
  if #text > SHIPPED then
    text, truncated = sub(text, 1, SHIPPED), true
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  -- Encoded because metadata strings are UTF-8 and a body may be compressed.
  metadata:set("layer.tap", name .. "_b64", handle:base64Escape(text))
  metadata:set("layer.tap", name .. "_truncated", truncated)
end

-- Whether a body may end here: JSON does after a brace, any other one when its length is reached.
local function may_be_all(handle, part, received)
  return part:byte(-1) == CLOSING_BRACE
    or received == tonumber(handle:headers():get("content-length") or "")
end

-- Reads chunks as they pass and keeps the first bytes, and whether there were more.
--
-- They are kept as soon as they may be all, not when the stream ends: over HTTP/2 its end may be a
-- frame of its own, and the upstream may have answered before it comes.
local function capture(handle, name)
  local limit, parts, received, held, kept = HELD[name], {}, 0, 0, nil
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    received = received + length
    if length > 0 and held < limit then
      local part = chunk:getBytes(0, math.min(length, limit - held))
      parts[#parts + 1] = part
      held = held + #part
      if held == received and may_be_all(handle, part, received) then
        keep(handle, name, parts, false)
        kept = received
      end
    end
  end
  if kept ~= received then
    keep(handle, name, parts, held < received)
  end
end

function envoy_on_request(handle)
  capture(handle, "request")
end

function envoy_on_response(handle)
  capture(handle, "response")
end
