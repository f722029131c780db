"""What the steps of our pipelines have in common."""

from kfp.dsl import PipelineTask


def step(task: PipelineTask) -> PipelineTask:
    """`task`, never answered from KFP's cache: a step reads what is there now, and adopts what it did before."""
    return task.set_caching_options(False)


def waiting_step(task: PipelineTask) -> PipelineTask:
    """A step that waits for SageMaker: its pod may be moved meanwhile, so that it is started once more when it ends
    badly; it then adopts its running job, or goes on to the next attempt past a failed one."""
    return step(task).set_retry(num_retries=1, backoff_duration="10s")
