{{/* Objects beside a workload. Each takes (dict "root" $ "part" "poller" "values" .Values.poller ...). */}}

{{- define "common.serviceAccountName" -}}
{{- $own := (.values).serviceAccount | default dict -}}
{{- if $own.name -}}
{{- $own.name -}}
{{- else if eq (toString $own.create) "false" -}}
default
{{- else -}}
{{- include "common.fullname" . -}}
{{- end -}}
{{- end -}}

{{/*
The service account of a part. Its IAM role is loopcast-<feed>-<part> (`role` where it has another name): with EKS Pod
Identity associate the two; with IRSA (global.aws.irsa) it is annotated here.
*/}}
{{- define "common.serviceAccount" -}}
{{- $own := (.values).serviceAccount | default dict -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
{{- if ne (toString $own.create) "false" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "common.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
  {{- if or $aws.irsa $own.annotations }}
  annotations:
    {{- if and $aws.irsa (not (hasKey ($own.annotations | default dict) "eks.amazonaws.com/role-arn")) }}
    {{- $account := required "global.aws.irsa needs global.aws.account" (include "common.account" .) }}
    eks.amazonaws.com/role-arn: arn:aws:iam::{{ $account }}:role/loopcast-{{ include "common.feedName" . }}-{{ .role | default .part }}
    {{- end }}
    {{- with $own.annotations }}
    {{- tpl (toYaml .) $.root | nindent 4 }}
    {{- end }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{/* Where there are several replicas, or may be: one may be missing. `replicas` overrides the values' own. */}}
{{- define "common.pdb" -}}
{{- $values := .values | default dict -}}
{{- $pdb := $values.podDisruptionBudget | default dict -}}
{{- $auto := $values.autoscaling | default dict -}}
{{- $least := ternary ($auto.minReplicas | default 1) (.replicas | default $values.replicas | default 1) (eq (toString $auto.enabled) "true") -}}
{{- if and (ne (toString $pdb.enabled) "false") (gt (int $least) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  {{- if hasKey $pdb "minAvailable" }}
  minAvailable: {{ $pdb.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $pdb.maxUnavailable | default 1 }}
  {{- end }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* The Service that metrics are read by: without an address, so that it names every replica. */}}
{{- define "common.metricsService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true # metrics of a pod that is not ready tell why
  selector:
    {{- include "common.selectorLabels" . | nindent 4 }}
  ports:
    - name: {{ .port | default "http" }}
      port: {{ .portNumber | default 8080 }}
      targetPort: {{ .port | default "http" }}
{{- end -}}

{{/* `port` is the name of the Service's port. */}}
{{- define "common.serviceMonitor" -}}
{{- $monitor := (.root.Values.global).serviceMonitor | default dict -}}
{{- if $monitor.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "common.metadata" . | nindent 2 }}
    {{- with $monitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  namespaceSelector:
    matchNames: [{{ .root.Release.Namespace }}]
  targetLabels: [app.kubernetes.io/instance, app.kubernetes.io/component]
  endpoints:
    - port: {{ ternary .port "http" (kindIs "string" .port) }}
      path: {{ .path | default "/metrics" }}
      interval: {{ $monitor.interval | default "30s" }}
{{- end -}}
{{- end -}}
