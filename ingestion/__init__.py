"""The programs between the source and the feature store: poller, deduplicator, feature writer, repairer, replay."""
