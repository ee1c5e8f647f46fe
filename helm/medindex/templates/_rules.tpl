{{/* What the operator may do where indexes are: in the whole cluster, or in each of watchNamespaces. Every rule with its reason. */}}
{{- define "medindex.rules" -}}
# The resources themselves: watched; `patch` sets and removes the finalizer, `get` is for `medindex-operator plan`.
- apiGroups: [medindex.dev]
  resources: [medicalimageindexes]
  verbs: [get, list, watch, patch]
# Conditions, counts and endpoints are written there.
- apiGroups: [medindex.dev]
  resources: [medicalimageindexes/status]
  verbs: [patch]
# Owner references block the owner's deletion; clusters that enforce that (OpenShift) ask for this right.
- apiGroups: [medindex.dev]
  resources: [medicalimageindexes/finalizers]
  verbs: [update]
# Accounts without rights, settings and addresses of the workloads: made and corrected by server-side apply (`create`, `patch`),
# watched for drift, deleted when no longer wanted. `get` finds one of the same name that lacks the labels by which they are listed.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
# Embedders, gateways and search shards.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# Their disks, where an index asks for larger ones: the claims are grown one by one, because the template of a StatefulSet cannot change.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, patch]
# Trainings and imports.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# Who reaches the workloads, and the way in from outside.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Nodes are emptied one pod of a workload at a time.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Autoscalers where an index asks for them.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# The same by waiting uploads, where KEDA is installed; listed, not watched, because the type may be missing.
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, create, patch, delete]
# Metrics of the workloads are scraped, where Prometheus' operator is installed.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, create, patch, delete]
# Why pods are not ready (unschedulable, image missing, crashing) is told in conditions; pods are never changed.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# Used by the operator itself: Kafka's login and certificates, HBase's certificates. Looked for, so that what is missing is told: logins and
# certificates of catalog and cache, the Ingress' certificate, and what a pod mounts that does not begin. Only those that an index names are
# read, by name: their names are the users' choice, so they cannot be listed here, and no right to list or watch secrets is asked for.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Events are written beside the index; `patch` counts repetitions.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
