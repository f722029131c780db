{{- define "aws-resources.checkRole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "common.metadata" . | nindent 2 }}
rules:
  - apiGroups: [batch]
    resources: [jobs]
    resourceNames: [{{ include "aws-resources.job" .root }}]
    verbs: [get]
  - apiGroups: [""]
    resources: [pods] # what the Job said last
    verbs: [list]
{{- end }}

{{- define "aws-resources.checkBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "common.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "common.fullname" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "common.fullname" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
