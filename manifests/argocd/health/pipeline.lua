-- Kubeflow's webhook lets in what is valid; a condition, where there is one, says the rest.
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  local said = (condition.reason or "") .. " " .. (condition.message or "")
  if condition.status == "False" then
    return { status = "Degraded", message = said }
  end
  if condition.status == "Unknown" or condition.reason == "CREATING" then
    return { status = "Progressing", message = said }
  end
end
return { status = "Healthy", message = "" }
