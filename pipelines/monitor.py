"""The monitor pipeline: a stage's forecasts against what came, and its data against what its model was trained on."""

from kfp import dsl

from components.monitor_collect.component import collect_predictions
from components.monitor_constraints.component import check_constraints
from components.monitor_measure.component import measure
from pipelines.steps import HOLDS_DATA, step, waiting_step


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="loopcast-monitor",
    description="Judges what a stage's endpoint forecasts by what came.",
)
def monitor(
    feed: str,
    run_id: str,
    stage: str = "production",
    built_in: int = 1,
    analyzer_image: str = "",
    instance_type: str = "ml.m5.large",
    max_seconds: int = 1800,
    poll_interval: float = 15.0,
) -> str:
    """Judges every window that closed since the stage's last run, and returns the address of what came of it.

    Args:
        feed: the feed file's text.
        run_id: names the run's folder in S3; a run started again with it judges the same windows, once.
        stage: staging or production.
        built_in: 1 also runs SageMaker Model Monitor's model-quality job, 0 does not.
        analyzer_image: '' is the built-in monitor's in the region.
        instance_type: of the model-quality job.
        max_seconds: the longest that the model-quality job may take.
        poll_interval: seconds between two looks at it.
    """
    collected = step(collect_predictions(feed=feed, run_id=run_id, stage=stage), HOLDS_DATA)
    measured = waiting_step(measure(feed=feed, run_id=run_id, stage=stage, collected=collected.output), HOLDS_DATA)
    with dsl.If(built_in == 1, "built-in"):
        waiting_step(
            check_constraints(
                feed=feed,
                run_id=run_id,
                stage=stage,
                result=measured.outputs["Output"],
                image=analyzer_image,
                instance_type=instance_type,
                max_seconds=max_seconds,
                poll_seconds=poll_interval,
            )
        )
    result: str = measured.outputs["Output"]
    return result
