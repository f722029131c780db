"""Step: write the stage's threshold, once its endpoint is healthy."""

from kfp.dsl import Metrics, Output

from components.step import component


@component
def write_threshold(
    feed: str, run_id: str, endpoint: str, model_package_arn: str, stage: str, metrics: Output[Metrics]
) -> str:
    """Returns the address of what the deployment came to, runs/<run-id>/<stage>.json."""
    from components.run import open_run, write_json
    from components.write_threshold.write_threshold import write_threshold
    from loopcast import aws

    run = open_run(feed, run_id)
    package = aws.client("sagemaker").describe_model_package(ModelPackageName=model_package_arn)
    limit = write_threshold(run.names, stage, package)
    metrics.log_metric("threshold", limit)
    outcome = {
        "run_id": run_id,
        "feed": run.feed.name,
        "stage": stage,
        "endpoint": endpoint,
        "model_package_arn": model_package_arn,
        "threshold": limit,
    }
    return write_json(run.uri(f"{stage}.json"), outcome)
