{{/* The variables of all parts: where this release's own AWS is, whatever AWS the other charts use. */}}
{{- define "local-aws.env" -}}
- name: LOOPCAST_FEED
  value: /etc/loopcast/feed.yaml
- name: LOOPCAST_SPEED
  value: {{ .root.Values.global.speed | default 1 | toString | quote }}
- name: LOOPCAST_ACCOUNT
  value: "000000000000"
- name: AWS_REGION
  value: {{ .root.Values.global.aws.region }}
- name: AWS_DEFAULT_REGION
  value: {{ .root.Values.global.aws.region }}
- name: AWS_ACCESS_KEY_ID # stands for none: local AWS asks for no more
  value: local
- name: AWS_SECRET_ACCESS_KEY
  value: local
- name: AWS_ENDPOINT_URL
  value: http://{{ include "common.fullname" (dict "root" .root "part" "local-aws") }}:4566
{{- range $name := list "SAGEMAKER" "SAGEMAKER_RUNTIME" "SAGEMAKER_FEATURESTORE_RUNTIME" }}
- name: AWS_ENDPOINT_URL_{{ $name }}
  value: http://{{ include "common.fullname" (dict "root" $.root "part" "sagemaker") }}:4567
{{- end }}
{{- end -}}

{{/*
One part: its service account, Service, StatefulSet and monitor. (dict "root" $ "part" "sagemaker" "values"
.Values.sagemaker "number" 4567 "args" (list ...)); `grace` as for common.podSpec, `token`, `volumes` and `mounts` (lists),
`checksum` of what its pod must be restarted for.

A StatefulSet, since at most one pod may have the volume: its successor starts only when it is gone.
*/}}
{{- define "local-aws.part" -}}
{{ include "common.serviceAccount" . }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "common.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ .number }}
      targetPort: http
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  replicas: 1
  revisionHistoryLimit: 3
  serviceName: {{ include "common.fullname" . }}
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "common.podLabels" . | nindent 8 }}
      annotations:
        {{- include "common.podAnnotations" . | nindent 8 }}
        {{- with .checksum }}
        loopcast.io/config-checksum: {{ . | sha256sum | trunc 16 | quote }}
        {{- end }}
    spec:
      {{- include "common.podSpec" . | nindent 6 }}
      containers:
        - name: {{ .part }}
          image: {{ include "common.image" . }}
          imagePullPolicy: {{ include "common.imagePullPolicy" . }}
          args:
            {{- range .args }}
            - {{ . | toString | quote }}
            {{- end }}
            {{- range .values.args }}
            - {{ . | quote }}
            {{- end }}
          env:
            {{- include "local-aws.env" . | nindent 12 }}
            {{- with .values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - {name: http, containerPort: {{ .number }}}
          {{- include "common.probes" . | nindent 10 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            {{- include "common.containerSecurityContext" . | nindent 12 }}
          volumeMounts:
            - name: state
              mountPath: /state
            {{- include "common.feedVolumeMount" . | nindent 12 }}
            {{- include "common.tmpVolumeMount" . | nindent 12 }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "common.feedVolume" (dict "root" .root "part" "local-aws") | nindent 8 }}
        {{- include "common.tmpVolume" (merge (dict "size" "1Gi") .) | nindent 8 }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- if not .values.persistence.enabled }}
        - name: state
          emptyDir:
            sizeLimit: {{ .values.persistence.size }}
        {{- end }}
  {{- if .values.persistence.enabled }}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ ternary "Retain" "Delete" .values.persistence.keep }}
    whenScaled: Retain
  volumeClaimTemplates:
    - metadata:
        name: state
        labels:
          {{- include "common.selectorLabels" . | nindent 10 }}
      spec:
        accessModes:
          {{- toYaml .values.persistence.accessModes | nindent 10 }}
        {{- with .values.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.persistence.size }}
  {{- end }}
---
{{ include "common.serviceMonitor" . }}
{{- end -}}

{{/* Peers: all pods of this release, and those of its jobs and endpoints. */}}
{{- define "local-aws.programs" -}}
podSelector:
  matchLabels:
    loopcast.io/server: {{ include "common.fullname" (dict "root" .root "part" "sagemaker") }}
{{- end -}}

{{/* What stands for which image: local/sagemaker/images.yaml, with containers in the place of this checkout's programs. */}}
{{- define "local-aws.images" -}}
images:
  {{- with .Values.sagemaker.images }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- range (fromYaml (.Files.Get "files/images.yaml")).images }}
  {{- $module := .module | default "" }}
  - pattern: {{ .pattern | quote }}
    {{- if hasPrefix "forecasters." $module }}
    image: {{ include "common.image" (dict "root" $ "image" "forecaster") }}
    environment: {LOOPCAST_ALGORITHM: {{ trimPrefix "forecasters." $module }}}
    {{- else if $module }}
    image: {{ include "common.image" (dict "root" $ "image" "local-aws" "values" $.Values.sagemaker) }}
    command: [python, -m, {{ $module }}]
    {{- else }}
    image: {{ include "common.image" (dict "root" $ "image" "pipelines") }}
    {{- end }}
    {{- with .metrics }}
    metrics:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* How pods of jobs and endpoints are made. */}}
{{- define "local-aws.pods" -}}
carrierImage: {{ include "common.image" (dict "root" $ "image" "local-aws" "values" .Values.sagemaker) }}
imagePullPolicy: {{ include "common.imagePullPolicy" (dict "root" $) }}
imagePullSecrets:
  {{- toYaml .Values.global.image.pullSecrets | nindent 2 }}
labels:
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ toYaml .Values.sagemaker.pods }}
{{- end -}}
