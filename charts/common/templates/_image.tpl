{{/*
Images: [registry/]loopcast/<name>:<tag>. `image` is the image's name, for example "ingestion"; `values.image` may hold
repository (whole, with its registry), tag and digest, which win over the global ones.
*/}}
{{- define "common.image" -}}
{{- $own := (.values).image | default dict -}}
{{- $global := ((.root.Values.global).image) | default dict -}}
{{- $repository := printf "loopcast/%s" .image -}}
{{- with $global.registry }}{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}{{- end -}}
{{- $repository = $own.repository | default $repository -}}
{{- if $own.digest -}}
{{- printf "%s@%s" $repository $own.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($own.tag | default $global.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "common.imagePullPolicy" -}}
{{- (((.root.Values.global).image).pullPolicy) | default "IfNotPresent" -}}
{{- end -}}

{{- define "common.imagePullSecrets" -}}
{{- with (((.root.Values.global).image).pullSecrets) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
