-- The operator's life cycle and the job's own state: Argo CD's own check calls a failed job healthy once it was deployed.
local status = obj.status or {}
local cycle, job = status.lifecycleState or "", (status.jobStatus or {}).state or ""
local message = "Job " .. job .. ", deployment " .. cycle .. ". " .. (status.error or "")

if ((obj.spec or {}).job or {}).state == "suspended" and cycle == "SUSPENDED" then
  return { status = "Suspended", message = message }
end
if cycle == "FAILED" or job == "FAILED" or status.jobManagerDeploymentStatus == "ERROR" then
  return { status = "Degraded", message = message }
end
if cycle == "ROLLED_BACK" then
  return { status = "Degraded", message = "The new specification did not become stable and was rolled back. " .. message }
end
if status.observedGeneration ~= nil and status.observedGeneration < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "The operator has not looked at it yet." }
end
if cycle == "STABLE" and job == "RUNNING" then
  return { status = "Healthy", message = message }
end
return { status = "Progressing", message = message }
