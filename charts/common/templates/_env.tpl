{{/* Where things are: the variables of docs/architecture.md, the same for every program. */}}
{{- define "common.endpoint" -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
{{- if $aws.endpoint -}}
{{- tpl $aws.endpoint .root -}}
{{- else if $aws.local -}}
http://{{ include "common.fullname" (dict "root" .root "part" "local-aws") }}:4566
{{- end -}}
{{- end -}}

{{- define "common.sagemakerEndpoint" -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
{{- if $aws.sagemakerEndpoint -}}
{{- tpl $aws.sagemakerEndpoint .root -}}
{{- else if $aws.local -}}
http://{{ include "common.fullname" (dict "root" .root "part" "sagemaker") }}:4567
{{- end -}}
{{- end -}}

{{- define "common.account" -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
{{- $aws.account | default (ternary "000000000000" "" (default false $aws.local)) -}}
{{- end -}}

{{- define "common.sourceUrl" -}}
{{- with (.root.Values.global).sourceUrl }}{{ tpl . $.root }}{{ end -}}
{{- end -}}

{{/* LOOPCAST_* and AWS_*, as a list of `env`. */}}
{{- define "common.env" -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
- name: LOOPCAST_FEED
  value: /etc/loopcast/feed.yaml
- name: LOOPCAST_SPEED
  value: {{ (.root.Values.global).speed | default 1 | toString | quote }}
{{- with include "common.sourceUrl" . }}
- name: LOOPCAST_SOURCE_URL
  value: {{ . | quote }}
{{- end }}
{{- with include "common.account" . }}
- name: LOOPCAST_ACCOUNT
  value: {{ . | quote }}
{{- end }}
{{ include "common.awsEnv" . }}
{{- end -}}

{{/* AWS_* alone, for programs that know nothing of feeds. */}}
{{- define "common.awsEnv" -}}
{{- $aws := (.root.Values.global).aws | default dict -}}
- name: AWS_REGION
  value: {{ $aws.region | default "us-east-1" }}
- name: AWS_DEFAULT_REGION
  value: {{ $aws.region | default "us-east-1" }}
{{- with include "common.endpoint" . }}
- name: AWS_ENDPOINT_URL
  value: {{ . }}
{{- end }}
{{- with include "common.sagemakerEndpoint" . }}
- name: AWS_ENDPOINT_URL_SAGEMAKER
  value: {{ . }}
- name: AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME
  value: {{ . }}
- name: AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME
  value: {{ . }}
{{- end }}
{{- if $aws.credentialsSecret }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $aws.credentialsSecret }}
      key: {{ $name }}
      {{- if eq $name "AWS_SESSION_TOKEN" }}
      optional: true
      {{- end }}
{{- end }}
{{- else if $aws.local }}
- name: AWS_ACCESS_KEY_ID # stands for none: local AWS asks for no more
  value: local
- name: AWS_SECRET_ACCESS_KEY
  value: local
{{- end }}
{{- end -}}
