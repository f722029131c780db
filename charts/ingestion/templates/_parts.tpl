{{/* The parts of this chart: what each is called in values, what it is called in the cluster, and its module. */}}
{{- define "ingestion.parts" -}}
poller: {part: poller, module: ingestion.poller, source: true}
deduplicator: {part: deduplicator, module: ingestion.deduplicator}
featureWriter: {part: feature-writer, module: ingestion.feature_writer}
repairer: {part: repairer, module: ingestion.repairer}
{{- end -}}
