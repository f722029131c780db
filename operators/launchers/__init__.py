"""Where pipelines run: as processes of this machine, or in Kubeflow Pipelines."""
