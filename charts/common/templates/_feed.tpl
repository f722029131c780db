{{/* The feed file: `global.feed`, else the chart's files/feed.yaml. */}}
{{- define "common.feed" -}}
{{- $text := (.root.Values.global).feed | default (.root.Files.Get "files/feed.yaml") -}}
{{- if not (regexMatch "^[a-z][a-z0-9-]{1,30}[a-z0-9]$" (dig "name" "" (fromYaml $text) | toString)) -}}
{{- fail "global.feed must be the text of a feed file, with a name of 3 to 32 small letters, digits and hyphens in it: use --set-file global.feed=FILE" -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- define "common.feedName" -}}
{{- (fromYaml (include "common.feed" .)).name -}}
{{- end -}}

{{/* Changes with the feed: as an annotation of pods, so that a new feed file restarts them. */}}
{{- define "common.feedChecksum" -}}
loopcast.io/feed-checksum: {{ include "common.feed" . | sha256sum | trunc 16 | quote }}
{{- end -}}

{{/* <release>-<part>-feed, where `part` is the chart's, for example "ingestion": one for each chart. */}}
{{- define "common.feedConfigMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "common.metadata" (merge (dict "suffix" "feed") .) | nindent 2 }}
data:
  feed.yaml: |
    {{- include "common.feed" . | nindent 4 }}
{{- end -}}

{{/* `part` as for the ConfigMap. */}}
{{- define "common.feedVolume" -}}
- name: feed
  configMap:
    name: {{ include "common.fullname" . }}-feed
{{- end -}}

{{- define "common.feedVolumeMount" -}}
- name: feed
  mountPath: /etc/loopcast
  readOnly: true
{{- end -}}
