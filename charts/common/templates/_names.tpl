{{/* Names and labels. Each template takes (dict "root" $ "part" "poller" ...). */}}

{{/* <release>-<part>: unique in a namespace for each release. */}}
{{- define "common.fullname" -}}
{{- $name := printf "%s-%s" .root.Release.Name .part -}}
{{- if gt (len $name) 63 -}}
{{- fail (printf "the release's name is too long: %s has more than 63 characters" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "common.selectorLabels" -}}
app.kubernetes.io/name: loopcast
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{/* Of a pod: not the chart's version, so that a new chart with the same pods restarts none. */}}
{{- define "common.podLabels" -}}
{{ include "common.selectorLabels" . }}
app.kubernetes.io/part-of: loopcast
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Of every other object. */}}
{{- define "common.labels" -}}
{{ include "common.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* name, namespace and labels of an object: `name` is the part unless `suffix` is given. */}}
{{- define "common.metadata" -}}
name: {{ include "common.fullname" . }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "common.labels" . | nindent 2 }}
{{- end -}}
