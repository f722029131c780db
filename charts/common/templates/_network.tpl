{{/*
A pod's network policy: in: its metrics (`metricsPort`, by default 8080; 0: none) and what `ingress` adds; out: DNS, AWS
(unless `aws` is false), the source (with `source`), the API server (with `apiServer`) and what `egress` adds. `ingress`
and `egress` are lists of rules.
*/}}
{{- define "common.networkPolicy" -}}
{{- $policy := (.root.Values.global).networkPolicy | default dict -}}
{{- if ne (toString $policy.enabled) "false" -}}
{{- $port := ternary .metricsPort 8080 (hasKey . "metricsPort") | int -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if or $port .ingress }}
  ingress:
    {{- if $port }}
    - ports:
        - {port: {{ $port }}, protocol: TCP}
      from:
        {{- with $policy.metricsFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        - podSelector: # this release's tests
            matchLabels:
              app.kubernetes.io/name: loopcast
              app.kubernetes.io/instance: {{ .root.Release.Name }}
    {{- end }}
    {{- with .ingress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    - ports: # DNS
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
    {{- if ne (toString .aws) "false" }}
    {{- include "common.awsEgress" . | trim | nindent 4 }}
    {{- end }}
    {{- if .source }}
    {{- $source := include "common.sourceUrl" . | default (fromYaml (include "common.feed" .)).source.url }}
    - ports: # the source
        - {port: {{ include "common.urlPort" $source }}, protocol: TCP}
    {{- end }}
    {{- if .apiServer }}
    - ports: # the API server, by its Service and by its own port
        - {port: 443, protocol: TCP}
        - {port: 6443, protocol: TCP}
    {{- end }}
    {{- with .egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* The port that a URL names or means. */}}
{{- define "common.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{- define "common.awsEgress" -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
{{- if $aws.local -}}
{{- range $part, $port := dict "local-aws" 4566 "sagemaker" 4567 }}
- to: # local AWS of this release
    - podSelector:
        matchLabels:
          {{- include "common.selectorLabels" (dict "root" $.root "part" $part) | nindent 10 }}
  ports:
    - {port: {{ $port }}, protocol: TCP}
{{- end }}
{{- else }}
- ports: # AWS
    - {port: 443, protocol: TCP}
- to: # EKS Pod Identity's agent on the node
    - ipBlock: {cidr: 169.254.170.23/32}
  ports:
    - {port: 80, protocol: TCP}
{{- end }}
{{- range list $aws.endpoint $aws.sagemakerEndpoint }}
{{- with . }}
- ports: # {{ tpl . $.root }}
    - {port: {{ include "common.urlPort" (tpl . $.root) }}, protocol: TCP}
{{- end }}
{{- end }}
{{- end -}}
