"""Programs in pods of a Kubernetes cluster: jobs as Jobs, served models as Deployments."""
