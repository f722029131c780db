"""What a feed's stack has made beside its declared resources: found by listing, and removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from applier.kinds.core import call, call_if_there, pages
from loopcast.names import Names

_TUNING = "HyperParameterTuning"
_JOBS = ("Training", "Transform", "Processing")
_DELETABLE = ("Training", "Processing", _TUNING)
"""The jobs whose records AWS deletes when asked; those of transform jobs stay."""
_UNFINISHED = ("InProgress", "Stopping")
_ENDED = ("Completed", "Failed", "Stopped")
_LOG_GROUPS = ("/aws/sagemaker/", "/aws/kinesisfirehose/", "/aws/athena/", "/loopcast/")
_CRAWLERS = "/aws-glue/crawlers"
_MONITORING_JOB = "Processing"
_MONITORING_PREFIX = "model-quality-monitoring-"


@dataclass(frozen=True)
class Owner:
    """A feed, and the prefixes of the names of other feeds in the account that begin as its own."""

    names: Names
    others: Sequence[str]

    def owns(self, name: str) -> bool:
        """Whether a resource of this name is the feed's: loopcast-a-b-x is that of the feed a-b if there is one."""
        return _begins(name, self.names.prefix) and not any(_begins(name, other) for other in self.others)


@dataclass(frozen=True)
class Sort:
    """One sort of left-over: `find` lists what is there by name, `remove` removes one, which is then `done`."""

    what: str
    find: Callable[[], list[str]]
    remove: Callable[[str], None]
    done: str = "deleted"


def owner(names: Names) -> Owner:
    """The feed of `names`; the account's other feeds are known by their buckets."""
    ending = f"-{names.account}"
    buckets = [name for name in pages("s3", "ListBuckets", "Buckets[].Name") if name.endswith(ending)]
    prefixes = [name.removesuffix(ending) for name in buckets]
    return Owner(names, [prefix for prefix in prefixes if prefix.startswith(f"{names.prefix}-")])


def running(feed: Owner) -> list[Sort]:
    """What runs and what it runs on, in the order in which it can be removed."""
    return [
        _monitoring_schedules(feed),
        _job_definitions(feed),
        _scaling(feed),
        _of_sagemaker(feed, "endpoint", "Endpoint"),
        _of_sagemaker(feed, "endpoint configuration", "EndpointConfig"),
        *(_jobs(feed, job) for job in (_TUNING, *_JOBS)),  # a search that runs starts training jobs
        _of_sagemaker(feed, "model", "Model"),
    ]


def traces(feed: Owner) -> list[Sort]:
    """What else carries the feed's name: logs, records of jobs, alarms and parameters."""
    return [
        # Before the jobs, and training jobs before searches: only the records of the latter say whose the former were.
        *(_log_streams(feed, job) for job in _JOBS),
        _crawler_log(feed),
        *(_ended_jobs(feed, job) for job in _DELETABLE),
        Sort("alarm", partial(_alarms, feed), lambda name: _delete("cloudwatch", "DeleteAlarms", AlarmNames=[name])),
        Sort("parameter", partial(_parameters, feed), lambda name: _delete("ssm", "DeleteParameter", Name=name)),
        Sort(
            "log group", partial(_log_groups, feed), lambda name: _delete("logs", "DeleteLogGroup", logGroupName=name)
        ),
    ]


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}-")


def _delete(service: str, operation: str, **parameters: object) -> None:
    call_if_there(service, operation, **parameters)


def _of_sagemaker(feed: Owner, what: str, noun: str) -> Sort:
    """Things that SageMaker lists by name and deletes at once: Endpoint, EndpointConfig, Model."""
    path = f"{noun}s[].{noun}Name"
    return Sort(
        what,
        lambda: _owned(feed, pages("sagemaker", f"List{noun}s", path, NameContains=feed.names.prefix)),
        lambda name: _delete("sagemaker", f"Delete{noun}", **{f"{noun}Name": name}),
    )


def _scaling(feed: Owner) -> Sort:
    """The scaling of endpoints; its policies and their alarms go with it."""
    service, dimension = "application-autoscaling", "sagemaker:variant:DesiredInstanceCount"
    asked = {"ServiceNamespace": "sagemaker", "ScalableDimension": dimension}

    def find() -> list[str]:
        found = pages(service, "DescribeScalableTargets", "ScalableTargets[].ResourceId", **asked)
        return sorted(name for name in found if feed.owns(name.split("/")[1]))

    return Sort(
        "scaling", find, lambda name: _delete(service, "DeregisterScalableTarget", ResourceId=name, **asked), "ended"
    )


def _monitoring_schedules(feed: Owner) -> Sort:
    path = "MonitoringScheduleSummaries[].MonitoringScheduleName"
    return Sort(
        "monitoring schedule",
        lambda: _owned(feed, pages("sagemaker", "ListMonitoringSchedules", path, NameContains=feed.names.prefix)),
        lambda name: _delete("sagemaker", "DeleteMonitoringSchedule", MonitoringScheduleName=name),
    )


def _job_definitions(feed: Owner) -> Sort:
    path, prefix = "JobDefinitionSummaries[].MonitoringJobDefinitionName", feed.names.prefix
    return Sort(
        "model quality job definition",
        lambda: _owned(feed, pages("sagemaker", "ListModelQualityJobDefinitions", path, NameContains=prefix)),
        lambda name: _delete("sagemaker", "DeleteModelQualityJobDefinition", JobDefinitionName=name),
    )


def _jobs(feed: Owner, job: str) -> Sort:
    """Jobs that haven't ended."""
    return Sort(
        _noun(job),
        partial(_jobs_in, feed, job, _UNFINISHED),
        lambda name: _delete("sagemaker", f"Stop{job}Job", **{f"{job}JobName": name}),
        "stopped",
    )


def _ended_jobs(feed: Owner, job: str) -> Sort:
    return Sort(
        f"ended {_noun(job)}",
        partial(_jobs_in, feed, job, _ENDED),
        lambda name: _delete("sagemaker", f"Delete{job}Job", **{f"{job}JobName": name}),
    )


def _noun(job: str) -> str:
    return "tuning job" if job == _TUNING else f"{job.lower()} job"


def _jobs_in(feed: Owner, job: str, statuses: Sequence[str]) -> list[str]:
    """The jobs of a kind in a status that the feed's parts have started, its searches, or its monitoring schedules."""
    if job == _TUNING:
        return _searches(feed, statuses)
    own = _owned(feed, [name for name, _ in _listed(job, statuses, feed.names.prefix)])
    prefix, is_own = _of_others(feed, job)
    more = [name for name, _ in _listed(job, statuses, prefix) if is_own(name)] if prefix else []
    return sorted({*own, *more})


def _of_others(feed: Owner, job: str) -> tuple[str, Callable[[str], bool]]:
    """What the jobs begin with that SageMaker names itself, and whether one is the feed's; '' where there are none."""
    if job == _MONITORING_JOB:
        return _MONITORING_PREFIX, _monitored(feed).__contains__
    if job == "Training":
        searches = tuple(f"{name}-" for name in _searches(feed, (*_UNFINISHED, *_ENDED)))
        return feed.names.tuning_prefix, lambda name: name.startswith(searches)
    return "", lambda _: False


def _searches(feed: Owner, statuses: Sequence[str]) -> list[str]:
    """The feed's tuning jobs. A tag says whose they are: of a feed's long name theirs have only the beginning."""
    listed = _listed(_TUNING, statuses, feed.names.tuning_prefix)
    return sorted(name for name, arn in listed if (_tagged(arn) or feed.names.feed) == feed.names.feed)


def _tagged(arn: str) -> str:
    """The feed that a resource's tags name; '' where they name none."""
    tags = (call_if_there("sagemaker", "ListTags", ResourceArn=arn) or {"Tags": []})["Tags"]
    return next((tag["Value"] for tag in tags if tag["Key"] == "loopcast:feed"), "")


def _listed(job: str, statuses: Sequence[str], part: str) -> list[list[str]]:
    """The names and ARNs of the jobs whose names contain `part`."""
    path = f"{job}JobSummaries[].[{job}JobName, {job}JobArn]"
    return [
        item
        for status in statuses
        for item in pages("sagemaker", f"List{job}Jobs", path, NameContains=part, StatusEquals=status)
    ]


def _monitored(feed: Owner) -> set[str]:
    """The jobs of the feed's monitoring schedules: SageMaker names them after their time alone."""
    path = "MonitoringExecutionSummaries[?ProcessingJobArn].[MonitoringScheduleName, ProcessingJobArn]"
    found = pages("sagemaker", "ListMonitoringExecutions", path)
    return {arn.rpartition("/")[2] for schedule, arn in found if feed.owns(schedule)}


def _owned(feed: Owner, names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if feed.owns(name))


def _alarms(feed: Owner) -> list[str]:
    path = "[MetricAlarms, CompositeAlarms][][].AlarmName"
    kinds = ["MetricAlarm", "CompositeAlarm"]
    return _owned(
        feed,
        pages("cloudwatch", "DescribeAlarms", path, AlarmNamePrefix=feed.names.prefix, AlarmTypes=kinds),
    )


def _parameters(feed: Owner) -> list[str]:
    return pages("ssm", "GetParametersByPath", "Parameters[].Name", Path=feed.names.parameters, Recursive=True)


def _log_groups(feed: Owner) -> list[str]:
    groups = [
        name
        for prefix in _LOG_GROUPS
        for name in pages("logs", "DescribeLogGroups", "logGroups[].logGroupName", logGroupNamePrefix=prefix)
    ]
    return [name for name in groups if feed.owns(name.rpartition("/")[2])]


def _log_streams(feed: Owner, job: str) -> Sort:
    """The streams of the feed's jobs of a kind in the log group that all such jobs of the account share."""
    group = f"/aws/sagemaker/{job}Jobs"

    def find() -> list[str]:
        if not _is_there(group):
            return []
        own = [name for name in _streams(group, feed.names.prefix) if feed.owns(name.partition("/")[0])]
        prefix, is_own = _of_others(feed, job)
        more = [name for name in _streams(group, prefix) if is_own(name.partition("/")[0])] if prefix else []
        return sorted({*own, *more})

    return Sort(f"log stream of {group}", find, partial(_delete_stream, group))


def _crawler_log(feed: Owner) -> Sort:
    """The streams of the feed's crawlers in the log group that all crawlers of the account share."""

    def find() -> list[str]:
        return _owned(feed, _streams(_CRAWLERS, feed.names.prefix)) if _is_there(_CRAWLERS) else []

    return Sort(f"log stream of {_CRAWLERS}", find, partial(_delete_stream, _CRAWLERS))


def _delete_stream(group: str, name: str) -> None:
    _delete("logs", "DeleteLogStream", logGroupName=group, logStreamName=name)


def _is_there(group: str) -> bool:
    found = call("logs", "DescribeLogGroups", logGroupNamePrefix=group)["logGroups"]
    return any(item["logGroupName"] == group for item in found)


def _streams(group: str, prefix: str) -> list[str]:
    path = "logStreams[].logStreamName"
    return pages("logs", "DescribeLogStreams", path, logGroupName=group, logStreamNamePrefix=prefix)
