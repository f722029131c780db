"""The deploy pipeline: from an approved model package to a healthy endpoint of a stage."""

from kfp import dsl

from components.check_approval.component import check_approval
from components.check_endpoint.component import check_endpoint
from components.deploy_endpoint.component import deploy_endpoint
from components.shadow_endpoint.component import shadow_endpoint
from components.write_threshold.component import write_threshold
from pipelines.steps import calling_step, step, waiting_step


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="loopcast-deploy",
    description="Puts an approved model package behind the endpoint of a stage.",
)
def deploy(
    feed: str,
    run_id: str,
    model_package_arn: str,
    stage: str = "staging",
    instance_type: str = "ml.m5.large",
    instance_count: int = 2,
    canary_percent: int = 10,
    bake_seconds: float = 600.0,
    alarms: str = "",
    shadow_seconds: float = 0.0,
    max_seconds: int = 1800,
    poll_interval: float = 15.0,
) -> str:
    """Deploys a model, and returns the address of what came of it.

    Args:
        feed: the feed file's text.
        run_id: names the endpoint's configuration; a run started again with it goes on where it was.
        model_package_arn: the package; it must be approved, and for production be the one that staging serves.
        stage: staging or production.
        instance_type: of the endpoint.
        instance_count: of production's; a canary is made of whole instances, at most half of them. Staging has one.
        canary_percent: the share of production's requests that the new model gets first; 0 gives it all at once, as in
            staging and in a first deployment.
        bake_seconds: of event time, in which production's alarms are watched after each step of the shift.
        alarms: with commas, the alarms that take the new model back meanwhile; '' are the stage's own.
        shadow_seconds: of event time, in which the model first runs in the shadow of what the stage serves; it is not
            deployed when it forecasts worse than that. 0 is none.
        max_seconds: the longest that the endpoint may take to come into service, beside that.
        poll_interval: seconds between two looks at the endpoint.
    """
    approved = step(check_approval(feed=feed, run_id=run_id, model_package_arn=model_package_arn, stage=stage))
    shadowed = waiting_step(
        shadow_endpoint(
            feed=feed,
            run_id=run_id,
            model=approved.output,
            stage=stage,
            instance_type=instance_type,
            shadow_seconds=shadow_seconds,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    deployed = waiting_step(
        deploy_endpoint(
            feed=feed,
            run_id=run_id,
            model=shadowed.output,
            stage=stage,
            instance_type=instance_type,
            instance_count=instance_count,
            canary_percent=canary_percent,
            bake_seconds=bake_seconds,
            alarms=alarms,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    checked = step(
        check_endpoint(
            feed=feed,
            run_id=run_id,
            endpoint=deployed.output,
            stage=stage,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    written = calling_step(
        write_threshold(
            feed=feed, run_id=run_id, endpoint=checked.output, model_package_arn=model_package_arn, stage=stage
        )
    )
    result: str = written.outputs["Output"]
    return result
