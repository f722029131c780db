-- Healthy: the operator follows the policy, and production serves what it is to serve.
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

local approved = ((obj.spec or {}).production or {}).approvedVersion
for _, version in ipairs(status.refusedVersions or {}) do
  if version == approved then
    return { status = "Degraded", message = "The approved version " .. approved .. " was rolled back. " .. said }
  end
end
local run = status.lastRun or {}
if run.state == "Failed" or run.state == "Canceled" or run.state == "Skipped" then
  return { status = "Degraded", message = run.id .. " failed: " .. (run.message or "") .. " " .. said }
end
if status.reason == "RollBack" then
  return { status = "Degraded", message = said }
end
local production = status.production or {}
if approved ~= nil and production.version ~= approved then
  local message = "Version " .. approved .. " is approved, and production serves " .. (production.version or 0) .. ". "
  return { status = "Progressing", message = message .. said .. " " .. (production.message or "") }
end
if status.state == "Running" then
  return { status = "Progressing", message = said }
end
return { status = "Healthy", message = said }
