{{/* Name of everything that belongs to the operator: the release's, with the chart's where it says nothing of MedIndex. */}}
{{- define "medindex.name" -}}
{{- if contains "medindex" .Release.Name -}}
{{- printf "%s-operator" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-medindex-operator" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "medindex.selectorLabels" -}}
app.kubernetes.io/name: medindex-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "medindex.labels" -}}
{{ include "medindex.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: medindex
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "medindex.account" -}}
{{- .Values.serviceAccount.name | default (include "medindex.name" .) -}}
{{- end -}}

{{- define "medindex.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- $end := ternary (printf ":%s" $tag) (printf "@%s" .Values.image.digest) (empty .Values.image.digest) -}}
{{- printf "%smedindex-operator%s" .Values.image.prefix $end -}}
{{- end -}}
