{{/* What restricted Pod Security asks of a pod, and a file system that nobody but root could write. */}}
{{- define "common.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "common.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* /tmp, the only place that a program may write. */}}
{{- define "common.tmpVolume" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .size | default "64Mi" }}
{{- end -}}

{{- define "common.tmpVolumeMount" -}}
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/*
The part of a pod's spec that is the same for all: (dict "root" $ "part" "poller" "values" .Values.poller). `token`: it
talks to the API server. `grace`: seconds from SIGTERM to SIGKILL. `account`: the part whose service account it uses, by
default its own.
*/}}
{{- define "common.podSpec" -}}
{{- $values := .values | default dict -}}
serviceAccountName: {{ include "common.serviceAccountName" (dict "root" .root "part" (.account | default .part) "values" $values) }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace | default 30 }}
securityContext:
  {{- include "common.podSecurityContext" . | nindent 2 }}
{{- include "common.imagePullSecrets" . }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range $values.topologySpreadConstraints }}
  - labelSelector:
      matchLabels:
        {{- include "common.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Annotations of a pod: the feed's checksum (unless `feed` is false), `global.podAnnotations`, `values.podAnnotations`. */}}
{{- define "common.podAnnotations" -}}
{{- if ne (toString .feed) "false" -}}
{{ include "common.feedChecksum" . }}
{{- end }}
{{- with merge dict ((.values).podAnnotations | default dict) ((.root.Values.global).podAnnotations | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Probes on /healthz and /readyz of port `http`. A program is live when its threads beat, ready when its last try of the
work succeeded; it may take long to become ready (AWS or its resources may not be there yet) without being restarted.
*/}}
{{- define "common.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: {{ div (add 1 (int (.startSeconds | default 120))) 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/*
A workload may start before AWS or its resources are there. There is no init container for that: our programs wait by
themselves, with a line of log for each look, and become ready within seconds of the resources. A program that ends when
its resources are absent can use this init container instead: (dict "root" $ "values" .Values.x "image" "ingestion"
"part" "ingestion" "parts" (list "poller")); it waits, as `python -m ingestion.waiting PART...` says, for what those parts
need. The pod needs the volumes `feed` and `tmp`.
*/}}
{{- define "common.waitForResources" -}}
- name: wait-for-resources
  image: {{ include "common.image" (dict "root" .root "image" .image "values" .values) }}
  imagePullPolicy: {{ include "common.imagePullPolicy" . }}
  args: [python, -m, ingestion.waiting {{- range .parts }}, {{ . }}{{ end }}]
  env:
    {{- include "common.env" . | nindent 4 }}
  securityContext:
    {{- include "common.containerSecurityContext" . | nindent 4 }}
  resources:
    requests: {cpu: 50m, memory: 96Mi}
    limits: {memory: 192Mi}
  volumeMounts:
    {{- include "common.feedVolumeMount" . | nindent 4 }}
    {{- include "common.tmpVolumeMount" . | nindent 4 }}
{{- end -}}
