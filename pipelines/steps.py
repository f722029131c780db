"""What the pods of our pipelines' steps are like in Kubeflow Pipelines.

Caching is off for every step, on purpose. Most read what is there now (the feature store, the registry, an endpoint),
and those that only compute are given addresses below runs/<run-id>/, so that no other run could ask for the same: what
a run did before, it adopts by itself.
"""

from dataclasses import dataclass

from kfp.dsl import PipelineTask


@dataclass(frozen=True)
class Pod:
    """What a step's pod requests, and its limits."""

    cpu: tuple[str, str]
    memory: tuple[str, str]


LIGHT = Pod(cpu=("100m", "1"), memory=("256Mi", "1Gi"))
HOLDS_DATA = Pod(cpu=("500m", "2"), memory=("512Mi", "2Gi"))
"""For a step that has the whole history, or every forecast of it, in memory."""
DEADLINE, WAITING_DEADLINE = 1800, 43200
"""Seconds after which a pod is ended: of a step that computes, and of one that waits for SageMaker, whose own limit is
the pipeline's max_seconds: this one ends what hangs, and is as long as a policy's runTimeout."""


def step(task: PipelineTask, pod: Pod = LIGHT) -> PipelineTask:
    """A step that decides by what the run has kept: it would decide the same again, so that it is not tried again."""
    return _shaped(task, pod, DEADLINE)


def calling_step(task: PipelineTask, pod: Pod = LIGHT) -> PipelineTask:
    """A step that only talks to AWS, and finds what it did before: it is tried twice more, as what it met may pass."""
    return _shaped(task, pod, DEADLINE).set_retry(
        num_retries=2, backoff_duration="5s", backoff_factor=2.0, backoff_max_duration="60s"
    )


def waiting_step(task: PipelineTask, pod: Pod = LIGHT) -> PipelineTask:
    """A step that waits for SageMaker: its pod may be moved meanwhile, so that it is started once more when it ends
    badly; it then adopts its running job, or goes on to the next attempt past a failed one."""
    return _shaped(task, pod, WAITING_DEADLINE).set_retry(num_retries=1, backoff_duration="10s")


def _shaped(task: PipelineTask, pod: Pod, deadline: int) -> PipelineTask:
    task.set_caching_options(False)
    task.set_cpu_request(pod.cpu[0]).set_cpu_limit(pod.cpu[1])
    task.set_memory_request(pod.memory[0]).set_memory_limit(pod.memory[1])
    # As kfp-kubernetes 2.17.0 writes it: for this one field that package is not needed.
    task.platform_config["kubernetes"] = {"activeDeadlineSeconds": str(deadline)}
    return task
