"""The rollback pipeline: a stage goes back to what it served before."""

from kfp import dsl

from components.roll_back.component import roll_back
from pipelines.steps import waiting_step


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="loopcast-rollback",
    description="Takes a stage back to the endpoint configuration and the threshold that it had before.",
)
def rollback(
    feed: str,
    run_id: str,
    stage: str = "production",
    model_package_arn: str = "",
    reason: str = "",
    max_seconds: int = 1800,
    poll_interval: float = 15.0,
) -> str:
    """Rolls a stage back, and returns the address of what came of it.

    Args:
        feed: the feed file's text.
        run_id: names the run; started again with it, it goes on where it was.
        stage: staging or production.
        model_package_arn: what is to be taken back; where the stage does not serve it, nothing is done. '' is whatever
            it serves.
        reason: why, for the registry; the package is rejected with it.
        max_seconds: the longest that the endpoint may take.
        poll_interval: seconds between two looks at it.
    """
    done = waiting_step(
        roll_back(
            feed=feed,
            run_id=run_id,
            stage=stage,
            model_package_arn=model_package_arn,
            reason=reason,
            max_seconds=max_seconds,
            poll_seconds=poll_interval,
        )
    )
    result: str = done.output
    return result
