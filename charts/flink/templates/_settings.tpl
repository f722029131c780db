{{/* Flink's settings of mode operator: those of flink/cluster.py, less what the operator sets. A test holds them equal. */}}
{{- define "flink.settings" -}}
{{- $checkpoints := include "flink.checkpoints" . -}}
metrics.reporters: prometheus
metrics.reporter.prometheus.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory
metrics.reporter.prometheus.port: "9249"
taskmanager.numberOfTaskSlots: {{ .Values.taskManager.slots | quote }}
taskmanager.memory.managed.size: 32m
taskmanager.memory.network.min: 32m
taskmanager.memory.network.max: 32m
execution.buffer-timeout.interval: 10 ms
pipeline.auto-watermark-interval: 100 ms
execution.checkpointing.interval: {{ mul 1000 .Values.job.checkpointSeconds }} ms
execution.checkpointing.timeout: 60 s
execution.checkpointing.tolerable-failed-checkpoints: "30"
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
execution.checkpointing.dir: {{ $checkpoints }}
execution.checkpointing.num-retained: "2"
execution.checkpointing.snapshot-compression: "true"
execution.checkpointing.savepoint-dir: {{ .Values.operator.savepoints | default (printf "%ssavepoints/" $checkpoints) }}
state.backend.type: hashmap
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.initial-backoff: 1 s
restart-strategy.exponential-delay.max-backoff: 30 s
python.client.executable: /opt/venv/bin/python
python.executable: /opt/venv/bin/python
io.tmp.dirs: /tmp
{{- with include "common.endpoint" (dict "root" $) }}
s3.endpoint: {{ . }}
s3.path.style.access: "true"
{{- end }}
high-availability.type: kubernetes
high-availability.storageDir: {{ trimSuffix "/" $checkpoints }}/ha
jobmanager.memory.jvm-metaspace.size: 192m
jobmanager.memory.off-heap.size: 64m
jobmanager.memory.jvm-overhead.min: 64m
jobmanager.memory.jvm-overhead.max: 64m
taskmanager.memory.jvm-metaspace.size: 144m
taskmanager.memory.jvm-overhead.min: 64m
taskmanager.memory.jvm-overhead.max: 64m
taskmanager.memory.framework.heap.size: 96m
taskmanager.memory.framework.off-heap.size: 64m
heartbeat.interval: 5 s
heartbeat.timeout: 30 s
web.submit.enable: "false"
web.cancel.enable: "false"
# Of this mode alone.
kubernetes.entry.path: /usr/bin/env
kubernetes.jobmanager.memory.limit-factor: "1.3" # room for the Python process that plans the job
kubernetes.rest-service.exposed.type: ClusterIP
# Else a process's first variable would take the place of the first that both have, which says where the feed is.
kubernetes.operator.pod-template.merge-arrays-by-name: "true"
env.java.opts.all: {{ include "flink.moduleOptions" . }} -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError
{{- if .Values.operator.autoscaler.enabled }}
job.autoscaler.enabled: "true"
job.autoscaler.scaling.enabled: "false" # what is counted depends on the numbers of subtasks
job.autoscaler.utilization.target: {{ .Values.operator.autoscaler.targetUtilization | quote }}
{{- end }}
{{- end -}}

{{/* What modules keep closed to Flink is opened, as in its own configuration. */}}
{{- define "flink.moduleOptions" -}}
--add-exports=java.base/sun.net.util=ALL-UNNAMED --add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED --add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.net=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.lang.reflect=ALL-UNNAMED --add-opens=java.base/java.text=ALL-UNNAMED --add-opens=java.base/java.time=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED --add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED --add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED
{{- end -}}

{{- define "flink.checkpoints" -}}
{{- if .Values.job.checkpoints -}}
{{ trimSuffix "/" .Values.job.checkpoints }}/
{{- else -}}
{{- $account := required "mode operator needs global.aws.account (or job.checkpoints): it names the bucket" (include "common.account" (dict "root" $)) -}}
s3://loopcast-{{ include "common.feedName" (dict "root" $) }}-{{ $account }}/checkpoints/
{{- end -}}
{{- end -}}
