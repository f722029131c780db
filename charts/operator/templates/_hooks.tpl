{{/*
The objects of a hook on the definitions: (dict "root" $ "part" "operator-crds-apply" "hooks" "pre-install,pre-upgrade"
"command" "apply"). Each takes its rights with it, and all is gone when it is over.
*/}}
{{- define "operator.crdsHook" -}}
{{- $root := .root }}
{{- $values := pick $root.Values "image" "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- $this := merge (dict "values" $values "image" "operator" "token" true) . }}
{{- $name := include "common.fullname" $this }}
{{- $cluster := printf "%s-%s" $name $root.Release.Namespace }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "common.metadata" $this | nindent 2 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "-10"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $cluster }}
  labels:
    {{- include "common.labels" $this | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "-10"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
rules: # manifests/operator/crds-rbac.yaml
  {{- include "operator.rules" (dict "root" $root "file" "crds-rbac.yaml" "kind" "ClusterRole") | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $cluster }}
  labels:
    {{- include "common.labels" $this | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "-10"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $cluster }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
---
{{- if $root.Values.global.networkPolicy.enabled }}
{{- $policy := fromYaml (include "common.networkPolicy" (merge (dict "metricsPort" 0 "aws" false "apiServer" true) $this)) }}
{{- $_ := set $policy.metadata "annotations" (dict "helm.sh/hook" .hooks "helm.sh/hook-weight" "-10" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded,hook-failed") }}
{{ toYaml $policy }}
---
{{- end }}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "common.metadata" $this | nindent 2 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "0"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
    helm.sh/hook-output-log-policy: hook-failed
spec:
  backoffLimit: 2
  activeDeadlineSeconds: 180
  template:
    metadata:
      labels:
        {{- include "common.podLabels" $this | nindent 8 }}
    spec:
      {{- include "common.podSpec" $this | nindent 6 }}
      restartPolicy: Never
      containers:
        - name: crds
          image: {{ include "common.image" $this }}
          imagePullPolicy: {{ include "common.imagePullPolicy" $this }}
          args:
            - python
            - -m
            - operators.crds
            - {{ .command }}
            {{- if eq .command "delete" }}
            - --namespace
            - {{ $root.Release.Namespace }}
            {{- end }}
          resources:
            {{- toYaml $root.Values.crds.resources | nindent 12 }}
          securityContext:
            {{- include "common.containerSecurityContext" $this | nindent 12 }}
          volumeMounts:
            {{- include "common.tmpVolumeMount" $this | nindent 12 }}
      volumes:
        {{- include "common.tmpVolume" $this | nindent 8 }}
{{- end -}}
