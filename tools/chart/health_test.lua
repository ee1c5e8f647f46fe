-- Tests manifests/argocd/health.lua: `glua tools/chart/health_test.lua manifests/argocd/health.lua`.
local path = arg[1]
local failed = 0

-- An index with these conditions; each is {status, reason, message}.
local function index(conditions, changes)
  local made = { metadata = { generation = 3 }, spec = {}, status = { observedGeneration = 3, conditions = {} } }
  for type, condition in pairs(conditions) do
    table.insert(made.status.conditions, { type = type, status = condition[1], reason = condition[2], message = condition[3] })
  end
  if changes then
    changes(made)
  end
  return made
end

local function expect(what, index, status, message)
  obj = index
  local health = dofile(path)
  if health.status ~= status or (message and not string.find(health.message, message, 1, true)) then
    failed = failed + 1
    print(string.format("%s: %s (%s), expected %s (%s)", what, health.status, tostring(health.message), status, tostring(message)))
  end
end

local ready = { "True", "Ready", "images are accepted and found" }
local progressing = { "True", "Progressing", "objects were changed" }

expect("a new one", { metadata = { generation = 1 }, spec = {} }, "Progressing", "not looked at it")
expect("one without conditions", { metadata = { generation = 1 }, spec = {}, status = { observedGeneration = 1 } }, "Progressing")
expect("a ready one", index({ Ready = ready, Stalled = { "False", "NotStalled", "" } }), "Healthy", "accepted and found")
expect("a ready one with less than asked for", index({ Ready = ready, Degraded = { "True", "Less", "topic x has 1 copy" } }), "Healthy", "1 copy")
expect("one that is not degraded", index({ Ready = ready, Degraded = { "False", "AsAskedFor", "all" } }), "Healthy", "accepted and found")
expect("one that starts", index({ Ready = { "False", "PodsMissing", "0 of 2 pods" }, Reconciling = progressing }), "Progressing", "0 of 2")
expect("one of which nobody knows", index({ Ready = { "Unknown", "GatewaySilent", "silent" } }), "Progressing", "silent")
expect("one that waits for Kafka", index({ Ready = { "False", "KafkaUnavailable", "no broker" } }), "Progressing", "no broker")
expect("one that crashes", index({ Ready = { "False", "Crashing", "exit 1" }, Reconciling = progressing }), "Degraded", "exit 1")
expect("one whose image is missing", index({ Ready = { "False", "ImageUnavailable", "no such image" } }), "Degraded", "no such image")
expect("one whose login Kafka refuses", index({ Ready = { "False", "KafkaRefuses", "invalid credentials" } }), "Degraded", "invalid credentials")
expect("a stalled one", index({ Ready = { "False", "InvalidSpec", "x" }, Stalled = { "True", "InvalidSpec", "spec.x: write y" } }), "Degraded", "InvalidSpec: spec.x: write y")
expect("a changed one", index({ Ready = ready }, function(made) made.metadata.generation = 4 end), "Progressing", "latest change")
expect("one whose fault was mended a moment ago", index({ Ready = ready, Stalled = { "True", "InvalidSpec", "x" } }, function(made)
  made.metadata.generation = 4
end), "Progressing", "latest change")
expect("a suspended one", index({ Ready = { "False", "Suspended", "x" } }, function(made) made.spec.suspend = true end), "Suspended", "spec.suspend")
expect("a paused one", index({ Ready = ready }, function(made) made.spec.paused = true end), "Suspended", "spec.paused")
expect("a deleted one", index({ Ready = ready }, function(made) made.metadata.deletionTimestamp = "2026-01-01T00:00:00Z" end), "Progressing", "deleted")
expect("one whose deletion is blocked", index({ Stalled = { "True", "CleanupBlocked", "Kafka is away" } }, function(made)
  made.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
end), "Degraded", "Kafka is away")

if failed > 0 then
  os.exit(1)
end
print("health.lua: 17 cases pass")
