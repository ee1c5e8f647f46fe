-- Tells Argo CD how a MedicalImageIndex is, by its conditions. Argo CD reads it out of argocd-cm (argocd-cm.yaml).
local health = { status = "Progressing", message = "the operator has not looked at it yet" }

-- Reasons of Ready that do not go away by waiting, though nothing is stalled: somebody has to look.
local broken = {
  Crashing = true, ImageUnavailable = true, MountsMissing = true, PodsRefused = true, KafkaRefuses = true, TrainingFailed = true,
  RollbackImpossible = true,
}

local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end

local function is(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "it is being deleted"
  if is("Stalled") and conditions.Stalled.reason == "CleanupBlocked" then
    health.status = "Degraded"
    health.message = conditions.Stalled.message
  end
  return health
end
if obj.status == nil or conditions.Ready == nil then
  return health
end
-- What the conditions say is of an older state.
if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "the operator has not looked at the latest change yet"
  return health
end
-- Only a person can end this.
if is("Stalled") then
  health.status = "Degraded"
  health.message = conditions.Stalled.reason .. ": " .. conditions.Stalled.message
  return health
end
if obj.spec.suspend or obj.spec.paused then
  health.status = "Suspended"
  health.message = obj.spec.suspend and "spec.suspend is true" or "spec.paused is true"
  return health
end

local ready = conditions.Ready
health.message = ready.message
if ready.status == "True" then
  health.status = "Healthy"
  if is("Degraded") then
    health.message = conditions.Degraded.message
  end
elseif broken[ready.reason] then
  health.status = "Degraded"
end
return health
