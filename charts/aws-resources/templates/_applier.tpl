{{/* The variables of the applier: whose service accounts the roles trust. */}}
{{- define "aws-resources.env" -}}
{{ include "common.env" . }}
- name: LOOPCAST_NAMESPACE
  value: {{ .root.Release.Namespace }}
- name: LOOPCAST_RELEASE
  value: {{ .root.Release.Name }}
{{- with .root.Values.oidcProvider }}
- name: LOOPCAST_OIDC_PROVIDER
  value: {{ . | quote }}
{{- end }}
{{- with .root.Values.pipelinesAccount }}
- name: LOOPCAST_PIPELINES_ACCOUNT
  value: {{ . | quote }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The spec of a pod that runs the applier: (dict "root" $ "part" ... "feed" "aws-resources" "args" (list "python" ...)).
`feed` is the part whose feed's ConfigMap it has. Where AWS is at an address of its own, it waits until that answers.
*/}}
{{- define "aws-resources.pod" -}}
{{- $values := .root.Values }}
{{- $this := merge (dict "values" $values "image" "operator") . }}
{{- include "common.podSpec" $this }}
restartPolicy: Never
{{- $endpoints := list }}
{{- range list (include "common.endpoint" $this) (include "common.sagemakerEndpoint" $this) }}
{{- if . }}{{- $endpoints = append $endpoints . }}{{- end }}
{{- end }}
{{- with $endpoints }}
initContainers:
  - name: wait-for-aws
    image: {{ include "common.image" $this }}
    imagePullPolicy: {{ include "common.imagePullPolicy" $this }}
    args:
      - python
      - -c
      - {{ $.root.Files.Get "files/wait.py" | toYaml | nindent 8 | trim }}
      {{- range . }}
      - {{ . }}
      {{- end }}
    resources:
      {{- toYaml $values.resources | nindent 6 }}
    securityContext:
      {{- include "common.containerSecurityContext" $this | nindent 6 }}
    volumeMounts:
      {{- include "common.tmpVolumeMount" $this | nindent 6 }}
{{- end }}
containers:
  - name: applier
    image: {{ include "common.image" $this }}
    imagePullPolicy: {{ include "common.imagePullPolicy" $this }}
    args:
      {{- toYaml .args | nindent 6 }}
    env:
      {{- include "aws-resources.env" $this | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    resources:
      {{- toYaml $values.resources | nindent 6 }}
    securityContext:
      {{- include "common.containerSecurityContext" $this | nindent 6 }}
    volumeMounts:
      {{- include "common.feedVolumeMount" $this | nindent 6 }}
      {{- include "common.tmpVolumeMount" $this | nindent 6 }}
volumes:
  {{- include "common.feedVolume" (dict "root" .root "part" .feedOf) | nindent 2 }}
  {{- include "common.tmpVolume" $this | nindent 2 }}
{{- end -}}

{{/* <release>-aws-resources-<revision>: a Job can't be changed, so each revision has its own. */}}
{{- define "aws-resources.job" -}}
{{ include "common.fullname" (dict "root" . "part" "aws-resources") }}-{{ .Release.Revision }}
{{- end -}}

{{/* An object, given as text, as a hook: (dict "object" (include ...) "hooks" "post-delete" "weight" "-5"). */}}
{{- define "aws-resources.hook" -}}
{{- with fromYaml .object }}
{{- $hook := dict "helm.sh/hook" $.hooks "helm.sh/hook-weight" $.weight "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded,hook-failed" }}
{{- $_ := set .metadata "annotations" (merge $hook (.metadata.annotations | default dict)) }}
{{- toYaml . }}
{{- end }}
{{- end -}}
