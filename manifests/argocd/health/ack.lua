-- ACK's conditions, the same for all its kinds.
local conditions = {}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  conditions[condition.type] = condition
end

local function stands(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local function said(type)
  return (conditions[type] or {}).message or (conditions[type] or {}).reason or ""
end

if stands("ACK.Terminal") then
  return { status = "Degraded", message = "Not before its manifest changes: " .. said("ACK.Terminal") }
end
-- Most often what it refers to is not there yet.
if stands("ACK.Recoverable") then
  return { status = "Progressing", message = "Tried again: " .. said("ACK.Recoverable") }
end
local references = conditions["ACK.ReferencesResolved"]
if references ~= nil and references.status ~= "True" then
  return { status = "Progressing", message = "Waits for what it refers to. " .. said("ACK.ReferencesResolved") }
end
if stands("ACK.ResourceSynced") or (conditions["ACK.ResourceSynced"] == nil and stands("Ready")) then
  return { status = "Healthy", message = said("ACK.Advisory") }
end
local synced = said("ACK.ResourceSynced")
return { status = "Progressing", message = synced ~= "" and synced or "Waits for the controller." }
