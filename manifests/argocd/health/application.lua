-- An Application among the root's: without this no sync wave waits for the one before.
local metadata = obj.metadata or {}
local annotations = metadata.annotations or {}
local health = (obj.status or {}).health or {}
if annotations["argocd.argoproj.io/ignore-healthcheck"] == "true" then
  return { status = "Healthy", message = "Nobody waits for it; it says itself how it is." }
end
return { status = health.status or "Progressing", message = health.message or "" }
