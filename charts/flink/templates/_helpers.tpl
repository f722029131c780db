{{- define "flink.maxShards" -}}
{{- .Values.job.maxShards | default (dig "stream" "max_shards" 1 (fromYaml (include "common.feed" (dict "root" $)))) | int -}}
{{- end -}}

{{/* The job's id, as flink/checkpoints.py has it. */}}
{{- define "flink.jobId" -}}
{{- printf "loopcast/%s" (include "common.feedName" (dict "root" $)) | sha256sum | trunc 32 -}}
{{- end -}}

{{- define "flink.clusterId" -}}
{{- include "common.fullname" (dict "root" $ "part" "flink") -}}
{{- end -}}

{{/* The ConfigMaps that Flink itself writes. */}}
{{- define "flink.haConfigMaps" -}}
[{{ include "flink.clusterId" . }}-cluster-config-map, {{ include "flink.clusterId" . }}-{{ include "flink.jobId" . }}-config-map]
{{- end -}}

{{- define "flink.requireSlots" -}}
{{- $slots := mul .Values.taskManager.replicas .Values.taskManager.slots -}}
{{- $shards := include "flink.maxShards" . | int -}}
{{- if lt (int $slots) $shards -}}
{{- fail (printf "taskManager.replicas times taskManager.slots is %d, but the stream may have %d shards and each needs a slot" (int $slots) $shards) -}}
{{- end -}}
{{- end -}}

{{/* How many TaskManagers Flink starts in mode operator: as many as have a slot for each shard. */}}
{{- define "flink.taskManagersOfOperator" -}}
{{- if ne (int .Values.taskManager.replicas) 1 -}}
{{- fail "taskManager.replicas is of mode standalone: in mode operator Flink itself starts as many TaskManagers as it takes, by taskManager.slots, to have a slot for each shard" -}}
{{- end -}}
{{- $slots := int .Values.taskManager.slots -}}
{{- div (add (include "flink.maxShards" . | int) $slots -1) $slots -}}
{{- end -}}

{{/*
Flink's TaskManagers belong to the JobManager's Deployment, which has one replica: Kubernetes can't know of how many some may
be missing, so that the budget says how many must stay.
*/}}
{{- define "flink.budgetOfOperator" -}}
{{- $pdb := .Values.taskManager.podDisruptionBudget -}}
{{- if or (kindIs "string" $pdb.minAvailable) (kindIs "string" $pdb.maxUnavailable) -}}
{{- fail "in mode operator taskManager.podDisruptionBudget takes numbers alone: Kubernetes does not know of how many TaskManagers it would be a share" -}}
{{- end -}}
{{- $least := sub (include "flink.taskManagersOfOperator" . | int) (int ($pdb.maxUnavailable | default 1)) -}}
podDisruptionBudget:
  enabled: {{ $pdb.enabled }}
  minAvailable: {{ ternary (int $pdb.minAvailable) (max 0 $least) (hasKey $pdb "minAvailable") }}
{{- end -}}

{{/* The flags that both of Flink's processes take. */}}
{{- define "flink.flags" -}}
- --cluster-id={{ include "flink.clusterId" .root }}
- --checkpoint-interval={{ .root.Values.job.checkpointSeconds }}
- --max-shards={{ include "flink.maxShards" .root }}
- --slots={{ .root.Values.taskManager.slots }}
- --memory={{ .values.memory }}
- --wait={{ .root.Values.job.waitSeconds }}
{{- with .root.Values.job.checkpoints }}
- --checkpoints={{ . }}
{{- end }}
{{- range $key, $value := .root.Values.job.settings }}
- --setting={{ $key }}={{ $value }}
{{- end }}
{{- end -}}

{{- define "flink.env" -}}
{{ include "common.env" . }}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A peer of a NetworkPolicy: this release's pods of a part. */}}
{{- define "flink.peer" -}}
podSelector:
  matchLabels:
    {{- include "common.selectorLabels" . | nindent 4 }}
{{- end -}}

{{/* Where Flink's own scripts find the image's home. */}}
{{- define "flink.homeEnv" -}}
PATH: /opt/venv/bin:/opt/java/bin:/opt/flink/bin:/usr/bin
FLINK_CONF_DIR: /opt/flink/conf
FLINK_LIB_DIR: /opt/flink/lib
FLINK_PLUGINS_DIR: /opt/flink/plugins
FLINK_OPT_DIR: /opt/flink/opt
FLINK_LOG_DIR: /tmp/log
FLINK_IDENT_STRING: loopcast
{{- end -}}

{{/* What a process has of its own in mode operator, over what both have; `probes` of its container. */}}
{{- define "flink.podTemplate" -}}
podTemplate:
  metadata:
    labels:
      {{- include "common.podLabels" . | nindent 6 }}
    annotations:
      {{- include "common.podAnnotations" . | nindent 6 }}
  {{- $spec := pick (include "common.podSpec" . | fromYaml) "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
  {{- $container := merge (dict "name" "flink-main-container") (.probes | default dict) }}
  {{- with .values.extraEnv }}{{ $_ := set $container "env" . }}{{ end }}
  {{- $_ := set $spec "containers" (list $container) }}
  spec:
    {{- toYaml $spec | nindent 4 }}
{{- end -}}
