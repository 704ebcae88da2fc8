-- The key check. What each endpoint accepts comes with its route: filter_context {keys = {digest = client}}.
-- An error in here lets the request go on without a client's name, and the RBAC filter behind answers 401.
local MAX_TOKEN = 512 -- characters; a longer one is no key, and hashing it would be the client's choice of our cost
local CACHE_LIMIT = 4096 -- accepted keys remembered by each worker
local cache, cached = {}, 0

local function answer(handle, status, code, message, challenge)
  handle:respond(
    { [":status"] = status, ["content-type"] = "application/json", ["www-authenticate"] = challenge },
    '{"error": {"code": "' .. code .. '", "message": "' .. message .. '"}}'
  )
end

local function refuse(handle, message, reason)
  answer(handle, "401", "Unauthorized", message, 'Bearer realm="penstock"' .. reason)
end

-- Only accepted keys are remembered: a flood of wrong ones cannot evict them. Comparing digests leaks nothing of the
-- key through time: who could choose a digest's first characters would have broken SHA-256.
local function client_of(token, keys)
  local digest = cache[token]
  if digest then
    return keys[digest]
  end
  digest = sha256(token)
  local client = keys[digest]
  if client then
    if cached >= CACHE_LIMIT then
      cache, cached = {}, 0
    end
    cache[token], cached = digest, cached + 1
  end
  return client
end

function envoy_on_request(handle)
  if handle:streamInfo():routeName() == "" then
    return answer(handle, "404", "EndpointNotFound", "There is no endpoint at this address.")
  end
  local headers = handle:headers()
  local count = headers:getNumValues("authorization")
  if count == 0 then
    return refuse(handle, "A credential is required: send 'Authorization: Bearer KEY'.", "")
  end
  local scheme, token = string.match(headers:get("authorization"), "^(%a+) +([%w%-%._~%+/]+=*)$")
  if count > 1 or not token or #token > MAX_TOKEN or string.lower(scheme) ~= "bearer" then
    return refuse(handle, "The Authorization header is malformed: send 'Authorization: Bearer KEY'.",
      ', error="invalid_request"')
  end
  local keys = handle:filterContext():get("keys")
  local client = keys and client_of(token, keys)
  if not client then
    return refuse(handle, "The credential is not valid for this endpoint.", ', error="invalid_token"')
  end
  headers:replace("x-penstock-client", client)
end
