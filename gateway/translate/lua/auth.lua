-- The key check. What each endpoint accepts comes with its route: filter_context {digest = client}.
-- An error in here lets the request go on without a client's name, and the RBAC filter behind answers 401.
collectgarbage("setpause", 1000) -- what a request leaves is small: let megabytes come together before a collection
local MAX_TOKEN = 512 -- characters; a longer one is no key, and hashing it would be the client's choice of our cost
local CACHE_LIMIT = 4096 -- accepted credentials remembered by each worker
local cache, cached = {}, 0

-- errors.py makes JSON of the sentence, and adds the challenge.
local function refuse(handle, sentence)
  handle:respond({ [":status"] = "401" }, sentence)
end

-- Only accepted credentials are remembered: a flood of wrong ones cannot evict them.
local function remember(credential, digest)
  if cached >= CACHE_LIMIT then
    cache, cached = {}, 0
  end
  if not cache[credential] then
    cache[credential], cached = digest, cached + 1
  end
end

-- What the cache does not know. Comparing digests leaks nothing of the key through time: who could choose a digest's
-- first characters would have broken SHA-256.
local function examine(handle, headers, credential, keys)
  if handle:streamInfo():routeName() == "" then
    return handle:respond(
      { [":status"] = "404", ["content-type"] = "application/json" },
      '{"error": {"code": "EndpointNotFound", "message": "There is no endpoint at this address."}}'
    )
  end
  if not credential then
    return refuse(handle, "There is no Authorization header.")
  end
  -- Keys are printable ASCII. Several headers come as one, joined by a comma, which no key may have.
  local scheme, token = string.match(credential, "^(%a+) +([!-+--~]+)$")
  if not token or #token > MAX_TOKEN or string.lower(scheme) ~= "bearer" then
    return refuse(handle, "The Authorization header is malformed: send 'Authorization: Bearer KEY'.")
  end
  local digest = sha256(token)
  local client = keys:get(digest)
  if not client then
    return refuse(handle, "The credential is not valid for this endpoint.")
  end
  remember(credential, digest)
  headers:add("x-penstock-client", client)
end

-- Every call into Envoy costs; a request with a known credential makes five. The client's name is on no request that
-- arrives (listener.py), so it is added, not replaced.
function envoy_on_request(handle)
  local headers = handle:headers()
  local credential = headers:get("authorization")
  local keys = handle:filterContext()
  local digest = cache[credential or ""]
  local client = digest and keys:get(digest)
  if client then
    headers:add("x-penstock-client", client)
  else
    examine(handle, headers, credential, keys)
  end
end
