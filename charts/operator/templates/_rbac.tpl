{{/*
The rules of a Role or ClusterRole in a file, which is manifests/operator's own: (dict "root" $ "file" "rbac.yaml" "kind"
"Role"). The operator's name in them becomes the release's. Without Jobs the rules that only Jobs need are left out.
*/}}
{{- define "operator.rules" -}}
{{- $root := .root }}
{{- $kind := .kind }}
{{- $jobs := eq $root.Values.runs.mode "jobs" }}
{{- $name := include "common.fullname" (dict "root" $root "part" "operator") }}
{{- range $document := regexSplit "(?m)^---\\s*$" ($root.Files.Get (printf "files/%s" .file)) -1 }}
{{- $object := fromYaml $document }}
{{- if eq $object.kind $kind }}
{{- range $rule := $object.rules }}
{{- $forJobs := or (has "batch" $rule.apiGroups) (has "apps" $rule.apiGroups) (has "pods" $rule.resources) }}
{{- if or $jobs (not $forJobs) }}
{{- if has "loopcast-operator" ($rule.resourceNames | default list) }}
{{- $rule = set $rule "resourceNames" (list $name) }}
{{- end }}
- {{- toYaml $rule | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
