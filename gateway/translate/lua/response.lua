-- The model's own errors become 424, so that a client can tell them from the platform's. The body stays the model's.
-- Left alone: 2xx, 429 (the scorer's queue is full), and a 401 with a challenge (the scorer's own key check).
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if status == "200" then -- nearly every answer: as few calls as can be
    if headers:get("grpc-status") == "16" then
      headers:remove("azureml-model-deployment") -- as for a 401 below
    end
    headers:remove("x-envoy-upstream-service-time")
    return
  end
  -- Only what an upstream answered carries it; the gateway's own answers are complete already.
  if not headers:get("x-envoy-upstream-service-time") then
    if status == "401" then
      headers:remove("azureml-model-deployment") -- Envoy adds the route's; who has no key learns no names
    end
    return
  end
  headers:remove("x-envoy-upstream-service-time")
  -- For the access logs: a header of that name could be the model's invention.
  handle:streamInfo():dynamicMetadata():set("penstock", "model_code", tonumber(status))
  if tonumber(status) < 300 then
    return
  end
  if status == "429" then
    if not headers:get("retry-after") then
      headers:add("retry-after", "1")
    end
    return
  end
  if status == "401" and headers:get("www-authenticate") then
    return
  end
  headers:replace("ms-azureml-model-error-reason", "model_error")
  headers:replace("ms-azureml-model-error-statuscode", status)
  headers:replace(":status", "424")
end
