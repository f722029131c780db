"""Step: refuse a package that is not approved, or for production is not the one in staging."""

from components.step import component


@component
def check_approval(feed: str, run_id: str, model_package_arn: str, stage: str) -> str:
    """Returns the name of the model made of the package."""
    from components.check_approval.check_approval import approved_package
    from components.deploy_endpoint.deploy_endpoint import package_model
    from components.run import open_run

    run = open_run(feed, run_id)
    return package_model(run.names, approved_package(run.names, model_package_arn, stage))
