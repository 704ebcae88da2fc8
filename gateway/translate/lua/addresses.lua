-- Runs where no route matched. Brings the other addresses of an endpoint to /endpoints/NAME/ or, for gRPC, /grpc/NAME/,
-- the only ones routes know. What it does not recognise, the key check behind it answers with 404.
local NAME = "^%a[%w%-]*$"

local function refuse(handle, status, message)
  handle:respond({ [":status"] = status }, message)
end

local function grpc_path(handle, headers, path)
  local name = headers:get("x-penstock-endpoint")
  if not name then
    return refuse(handle, "400", "Name the endpoint in the metadata 'x-penstock-endpoint'.")
  end
  if not string.match(name, NAME) or string.sub(path, 1, 6) == "/grpc/" then
    return refuse(handle, "404", "There is no endpoint of the name given in the metadata 'x-penstock-endpoint'.")
  end
  return "/grpc/" .. name .. path
end

-- The older address, or one with nothing behind the name; in both a query may follow.
local function web_path(path)
  local name, rest = string.match(path, "^/api/v1/service/([^/?]+)(.*)$")
  if not name then
    name, rest = string.match(path, "^/endpoints/([^/?]+)(.*)$")
  end
  if name and string.sub(rest, 1, 1) ~= "/" then
    rest = "/" .. rest
  end
  return name and "/endpoints/" .. name .. rest
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path") or ""
  local grpc = string.match(headers:get("content-type") or "", "^application/grpc")
  local known
  if grpc then
    known = grpc_path(handle, headers, path)
  else
    known = web_path(path)
  end
  if known and known ~= path then
    headers:replace(":path", known)
    handle:clearRouteCache()
    handle:metadata() -- has the route chosen again
    if grpc and handle:streamInfo():routeName() == "" then
      refuse(handle, "404", "There is no endpoint of the name given in the metadata 'x-penstock-endpoint'.")
    end
  end
end
