"""Hyperparameter tuning jobs: each trains one job after another, and remembers the best.

Its training jobs are ordinary ones, and all that it needs to go on after a kill: their names say whose they are.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Any, ClassVar

from local.sagemaker.context import Context, now
from local.sagemaker.errors import ServiceError, ValidationException
from local.sagemaker.jobs import ENDED, JOBS, Job, JobFailed, JobStopped, create_job, delete_job, stop_job
from local.sagemaker.registry import Json, operation
from local.sagemaker.resources import Kind, describe, page
from local.sagemaker.search import BadSearch, Trial, direction, propose
from local.sagemaker.store import Resource
from local.sagemaker.training import KIND as TRAINING
from local.sagemaker.training import metric_definitions, start_training_job, stop_training_job

KIND = Kind(
    arn="hyper-parameter-tuning-job",
    prefix="HyperParameterTuningJob",
    missing="Amazon SageMaker can't find a tuning job with the name {name}.",
    taken="Tuning job names must be unique within an AWS account and region, "
    "and a tuning job with this name already exists ({arn})",
)
_POLL_SECONDS = 0.1
_UNSUPPORTED = ("TrainingJobDefinitions", "WarmStartConfig", "Autotune")


@operation("CreateHyperParameterTuningJob")
def create_tuning_job(context: Context, request: Json) -> Json:
    _check(request)
    _check_objective(context, request)
    counters = {"Completed": 0, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    document = {
        "TrainingJobStatusCounters": counters,
        "ObjectiveStatusCounters": {"Succeeded": 0, "Pending": 0, "Failed": 0},
    }
    return create_job(context, TuningJob, request, document)


@operation("DescribeHyperParameterTuningJob")
def describe_tuning_job(context: Context, request: Json) -> Json:
    return describe(context, KIND, request["HyperParameterTuningJobName"])


@operation("ListHyperParameterTuningJobs")
def list_tuning_jobs(context: Context, request: Json) -> Json:
    found = [resource.document for resource in context.store.all(KIND.arn)]
    searches = [{**document["HyperParameterTuningJobConfig"], **document} for document in found]
    return page("ListHyperParameterTuningJobs", KIND, searches, request)


@operation("ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs(context: Context, request: Json) -> Json:
    tuning = KIND.find(context, request["HyperParameterTuningJobName"])
    summaries = [_sortable(tuning.document, job) for job in _training_jobs(context, tuning)]
    return page("ListTrainingJobsForHyperParameterTuningJob", TRAINING, summaries, request)


@operation("StopHyperParameterTuningJob")
def stop_tuning_job(context: Context, request: Json) -> Json:
    return stop_job(context, TuningJob, request)


@operation("DeleteHyperParameterTuningJob")
def delete_tuning_job(context: Context, request: Json) -> Json:
    return delete_job(context, TuningJob, request)


class TuningJob(Job):
    """The search of one tuning job."""

    kind = KIND
    log_group: ClassVar[str] = ""  # it has no program of its own: its training jobs have
    started_field = "CreationTime"
    ended_field = "HyperParameterTuningEndTime"

    def perform(self) -> None:
        try:
            while not self._over():
                self.step(_POLL_SECONDS)
        except JobStopped:
            self._stop_training()
            raise
        finally:
            self._count()
        if not any(trial.value is not None for trial in self._trials()):
            raise JobFailed("No training job succeeded: look at the FailureReason of the training jobs.")

    def _over(self) -> bool:
        """Starts what may run now, and says whether nothing runs and nothing more is to be tried."""
        jobs = _training_jobs(self.context, self.resource)
        running = sum(_is_running(job) for job in jobs)
        free = self._limits["MaxParallelTrainingJobs"] - running
        left = 0 if self._enough(jobs) else self._limits["MaxNumberOfTrainingJobs"] - len(jobs)
        started = sum(self._try_next() for _ in range(min(free, left)))
        self._count()
        return running + started == 0

    @property
    def _limits(self) -> Json:
        return dict(self.document["HyperParameterTuningJobConfig"]["ResourceLimits"])

    def _enough(self, jobs: list[Json]) -> bool:
        """Whether the target is reached or the time is over."""
        config = self.document["HyperParameterTuningJobConfig"]
        seconds = self._limits.get("MaxRuntimeInSeconds")
        if seconds is not None and now() >= self.document["CreationTime"] + seconds:
            return True
        target = config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue")
        best = _best(self.document, jobs)
        if target is None or best is None:
            return False
        return bool(best <= target if direction(config) == "minimize" else best >= target)

    def _try_next(self) -> bool:
        """Starts one more training job; False when a grid is used up."""
        document, trials = self.document, self._trials()
        config = document["HyperParameterTuningJobConfig"]
        chosen = propose(config, config["ParameterRanges"], trials, _seed(document))
        if chosen is None:
            return False
        try:
            request = _training_request(document, len(trials) + 1, chosen)
            start_training_job(self.context, request, TuningJobArn=document["HyperParameterTuningJobArn"])
        except ServiceError as error:
            raise JobFailed(f"ClientError: {error}") from error
        return True

    def _trials(self) -> list[Trial]:
        document = self.document
        jobs = _training_jobs(self.context, self.resource)
        return [Trial(_tuned(document, job), _objective(document, job)) for job in jobs]

    def _count(self) -> None:
        document = self.document
        jobs = _training_jobs(self.context, self.resource)
        best = _best(document, jobs)
        chosen = next((job for job in jobs if best is not None and _objective(document, job) == best), None)
        fields = _counters(document, jobs)
        if chosen is not None:
            fields["BestTrainingJob"] = _summary(document, chosen)
        self.set(**fields)

    def _stop_training(self) -> None:
        """Stops the training jobs and waits until they have ended."""
        for job in _training_jobs(self.context, self.resource):
            if job["TrainingJobStatus"] == "InProgress":
                _stop_quietly(self.context, job["TrainingJobName"])
        while any(_is_running(job) for job in _training_jobs(self.context, self.resource)):
            if self.closing(_POLL_SECONDS):
                return  # the next server takes the job up, which still is to stop


JOBS.append(TuningJob)


def _check(request: Json) -> None:
    """Raises `ValidationException` for what this server can't search."""
    config = request["HyperParameterTuningJobConfig"]
    unsupported = [name for name in _UNSUPPORTED if name in request]
    if unsupported or "TrainingJobDefinition" not in request:
        wrong = f"not {unsupported[0]}" if unsupported else "which is missing"
        raise ValidationException(f"This local SageMaker tunes one TrainingJobDefinition, {wrong}.")
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        raise ValidationException(
            "TrainingJobEarlyStoppingType must be Off: this local SageMaker stops no trial early."
        )
    if "HyperParameterTuningJobObjective" not in config:
        raise ValidationException("HyperParameterTuningJobConfig.HyperParameterTuningJobObjective is missing.")
    if "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise ValidationException("ResourceLimits.MaxNumberOfTrainingJobs is missing.")
    if "ResourceConfig" not in request["TrainingJobDefinition"]:
        raise ValidationException("TrainingJobDefinition.ResourceConfig is missing.")
    try:
        propose(config, config.get("ParameterRanges", {}), [], 0)
    except BadSearch as error:
        raise ValidationException(str(error)) from error


def _check_objective(context: Context, request: Json) -> None:
    """Raises `ValidationException` as AWS does when nothing says where the objective stands in the log."""
    algorithm = request["TrainingJobDefinition"]["AlgorithmSpecification"]
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    if objective not in {definition["Name"] for definition in metric_definitions(context, algorithm)}:
        raise ValidationException(
            "A metric is required for this hyperparameter tuning job objective. "
            "Provide a metric in the metric definitions."
        )


def _seed(document: Json) -> int:
    """The request's seed, or one of the job's own name."""
    digest = hashlib.sha256(document["HyperParameterTuningJobArn"].encode()).digest()
    return int(document["HyperParameterTuningJobConfig"].get("RandomSeed", int.from_bytes(digest[:3], "big")))


def _training_request(document: Json, number: int, chosen: dict[str, str]) -> Json:
    """The CreateTrainingJob request of the trial `number`, counted from 1."""
    definition = document["TrainingJobDefinition"]
    own = ("DefinitionName", "StaticHyperParameters", "TuningObjective", "HyperParameterRanges", "RetryStrategy")
    metric = document["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    return {
        **{key: value for key, value in definition.items() if key not in own},
        "TrainingJobName": _training_name(document, number),
        "HyperParameters": {
            **definition.get("StaticHyperParameters", {}),
            **chosen,
            "_tuning_objective_metric": metric,
        },
    }


def _training_name(document: Json, number: int) -> str:
    """As AWS names them: the tuning job's name, a number and a hash, which here only tells two jobs of a name apart."""
    digest = hashlib.sha256(f"{document['CreationTime']}".encode()).hexdigest()[:8]
    return f"{document['HyperParameterTuningJobName']}-{number:03d}-{digest}"


def _training_jobs(context: Context, tuning: Resource) -> list[Json]:
    """What Describe answers of the tuning job's training jobs, the first first."""
    limits = tuning.document["HyperParameterTuningJobConfig"]["ResourceLimits"]
    names = [_training_name(tuning.document, n) for n in range(1, limits["MaxNumberOfTrainingJobs"] + 1)]
    found = (context.store.get(TRAINING.arn, name) for name in names)
    return [resource.document for resource in found if resource is not None]


def _is_running(job: Json) -> bool:
    return job["TrainingJobStatus"] not in ENDED


def _tuned(tuning: Json, job: Json) -> dict[str, str]:
    ranges = tuning["HyperParameterTuningJobConfig"]["ParameterRanges"]
    names = {item["Name"] for items in ranges.values() for item in items}
    return {name: value for name, value in job["HyperParameters"].items() if name in names}


def _objective(tuning: Json, job: Json) -> float | None:
    """The objective of a completed training job; None when there is none (yet)."""
    metric = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    if job["TrainingJobStatus"] != "Completed":
        return None
    values = [item["Value"] for item in job.get("FinalMetricDataList", []) if item["MetricName"] == metric]
    return values[-1] if values else None


def _best(tuning: Json, jobs: list[Json]) -> float | None:
    values = [value for job in jobs if (value := _objective(tuning, job)) is not None]
    best = min if direction(tuning["HyperParameterTuningJobConfig"]) == "minimize" else max
    return best(values, default=None)


def _objective_status(tuning: Json, job: Json) -> str:
    if _is_running(job):
        return "Pending"
    return "Failed" if _objective(tuning, job) is None else "Succeeded"


def _counters(tuning: Json, jobs: list[Json]) -> Json:
    status = Counter("InProgress" if _is_running(job) else job["TrainingJobStatus"] for job in jobs)
    objective = Counter(_objective_status(tuning, job) for job in jobs)
    return {
        "TrainingJobStatusCounters": {
            "Completed": status["Completed"],
            "InProgress": status["InProgress"],
            "RetryableError": 0,
            "NonRetryableError": status["Failed"],
            "Stopped": status["Stopped"],
        },
        "ObjectiveStatusCounters": {name: objective[name] for name in ("Succeeded", "Pending", "Failed")},
    }


def _summary(tuning: Json, job: Json) -> Json:
    """The HyperParameterTrainingJobSummary."""
    keys = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime")
    objective = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    value = _objective(tuning, job)
    summary: dict[str, Any] = {key: job[key] for key in (*keys, "TrainingJobStatus", "FailureReason") if key in job}
    summary |= {"TunedHyperParameters": _tuned(tuning, job), "ObjectiveStatus": _objective_status(tuning, job)}
    if value is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective, "Value": value}
    return summary


def _sortable(tuning: Json, job: Json) -> Json:
    """The summary, with what the list can be sorted by."""
    value = _objective(tuning, job)
    return _summary(tuning, job) | {"TrainingJobFinalObjectiveMetricValue": math.inf if value is None else value}


def _stop_quietly(context: Context, name: str) -> None:
    try:
        stop_training_job(context, {"TrainingJobName": name})
    except ValidationException:
        return  # it has ended meanwhile
