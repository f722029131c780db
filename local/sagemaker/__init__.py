"""SageMaker on a laptop: it runs jobs and endpoints as programs of this machine under the container contract."""
