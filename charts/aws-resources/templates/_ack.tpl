{{/* What stands for each placeholder in manifests/aws, as applier/manifest.py says; as a YAML mapping. */}}
{{- define "aws-resources.placeholders" -}}
{{- $feed := fromYaml (include "common.feed" .) }}
{{- $account := required "mode ack needs global.aws.account" (include "common.account" .) }}
{{- $region := .root.Values.global.aws.region }}
{{- $release := .root.Release.Name }}
{{- $namespace := .root.Release.Namespace }}
{{- $pipelines := .root.Values.pipelinesAccount | default (printf "%s/%s-pipelines" $namespace $release) | splitn "/" 2 }}
FEED: {{ $feed.name | quote }}
FEED_SNAKE: {{ $feed.name | replace "-" "_" | quote }}
TUNING_PREFIX: {{ printf "loopcast-%s" $feed.name | trunc 23 | trimAll "-" | quote }}
ACCOUNT: {{ $account | quote }}
REGION: {{ $region | quote }}
SHARDS: {{ dig "stream" "shards" 1 $feed | toString | quote }}
FEATURE_DEFINITIONS: {{ include "aws-resources.features" (dict "feed" $feed "text" (include "common.feed" .)) | quote }}
OIDC_PROVIDER: {{ .root.Values.oidcProvider | default (printf "oidc.eks.%s.amazonaws.com/id/NONE" $region) | quote }}
NAMESPACE: {{ $namespace | quote }}
RELEASE: {{ $release | quote }}
PIPELINES_NAMESPACE: {{ $pipelines._0 | quote }}
PIPELINES_ACCOUNT: {{ $pipelines._1 | quote }}
{{- end -}}

{{/* The features that follow from a feed's metrics, in the feed's order, as JSON (loopcast/minute.py). */}}
{{- define "aws-resources.features" -}}
{{- $feed := .feed }}
{{- $block := regexFind "(?ms)^metrics:.*" .text }}
{{- $places := list }}
{{- range $name, $_ := $feed.metrics }}
{{- $places = append $places (printf "%08d %s" (regexSplit (printf "(?m)^ +%s:" $name) $block 2 | first | len) $name) }}
{{- end }}
{{- $features := list }}
{{- range list "record_id" "event_time" "series_id" "minute_start" }}
{{- $features = append $features (dict "featureName" . "featureType" "String") }}
{{- end }}
{{- $features = append $features (dict "featureName" "revision" "featureType" "Integral") }}
{{- range $place := sortAlpha $places }}
{{- $name := splitList " " $place | last }}
{{- $metric := get $feed.metrics $name }}
{{- $integer := eq $metric.aggregate "count" }}
{{- if eq $metric.aggregate "sum" }}{{- $integer = eq (get $feed.event.values $metric.of).type "integer" }}{{- end }}
{{- $features = append $features (dict "featureName" $name "featureType" (ternary "Integral" "Fractional" $integer)) }}
{{- end }}
{{- toJson $features -}}
{{- end -}}
