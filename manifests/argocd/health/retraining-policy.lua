-- Healthy: the operator follows the policy, and the newest run did not fail.
local status = obj.status or {}
local said = (status.reason or "") .. ": " .. (status.message or "")

local ready = nil
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  end
end

if ready == nil or (ready.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "The operator has not looked at it yet." }
end
if ready.status ~= "True" then
  return { status = "Degraded", message = ready.reason .. ": " .. ready.message }
end
if status.state == "Suspended" then
  return { status = "Suspended", message = said }
end
local run = status.lastRun or {}
if run.state == "Failed" or run.state == "Canceled" or run.state == "Skipped" then
  return { status = "Degraded", message = run.id .. " failed: " .. (run.message or "") .. " " .. said }
end
return { status = "Healthy", message = said }
