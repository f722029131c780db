"""Destroy leaves nothing of a feed, whatever its stack has made, and touches no other feed."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from applier import leftovers
from applier.leftovers import Owner, Sort
from loopcast import aws
from loopcast.names import Names
from tests.applier.conftest import ACCOUNT, Stack

pytestmark = pytest.mark.usefixtures("sagemaker")

EMPIRICAL = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/loopcast-empirical:1"
ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
PIPELINES = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/loopcast-pipelines:1"


@pytest.fixture
def used(stack: Stack) -> Stack:
    """A stack that has worked for a while."""
    assert stack.run("apply").code == 0
    use(stack.names)
    return stack


def use(names: Names) -> None:
    """Leaves behind what the parts of a running stack leave behind."""
    keep_objects(names)
    keep_models(names)
    aws.client("ssm").put_parameter(Name=names.parameter("thresholds", "staging"), Value="0.5", Type="String")
    aws.client("glue").create_table(DatabaseName=names.glue_database, TableInput={"Name": "view"})
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{names.prefix}-loss",
        Namespace=names.metric_namespace,
        MetricName="Loss",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    aws.client("cloudwatch").put_composite_alarm(
        AlarmName=f"{names.prefix}-worse", AlarmRule=f'ALARM("{names.prefix}-loss")'
    )
    keep_log(f"/aws/sagemaker/Endpoints/{names.endpoint('staging')}", "AllTraffic/i-1")
    keep_log("/aws/sagemaker/TrainingJobs", f"{names.prefix}-train-1/algo-1")
    keep_log("/aws-glue/crawlers", names.archive)
    aws.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{names.endpoint('production')}/variant/AllTraffic",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=2,
    )


def keep_objects(names: Names) -> None:
    """Objects with several versions, a deleted one, and an upload that was never finished."""
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=names.bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=names.bucket, Key="raw/one", Body=body)
    s3.delete_object(Bucket=names.bucket, Key="raw/one")
    s3.put_object(Bucket=names.bucket, Key="models/one", Body=b"1")
    s3.create_multipart_upload(Bucket=names.bucket, Key="models/two")


def keep_models(names: Names) -> None:
    """A model with a package, an endpoint that is being made, and a job that runs."""
    sagemaker = aws.client("sagemaker")
    name = f"{names.prefix}-one"
    container = {"Image": EMPIRICAL, "ModelDataUrl": names.s3("models/one")}
    variant = {"VariantName": "main", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=names.role_arn("sagemaker"))
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=names.endpoint("staging"), EndpointConfigName=name)
    sagemaker.create_model_package(
        ModelPackageGroupName=names.model_package_group,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    sagemaker.create_processing_job(
        ProcessingJobName=f"{names.prefix}-step-1",
        AppSpecification={
            "ImageUri": PIPELINES,
            "ContainerEntrypoint": ["python3", "-c", "import time; time.sleep(300)"],
        },
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        RoleArn=names.role_arn("sagemaker"),
    )


def keep_monitoring(names: Names) -> str:
    """A monitoring schedule whose execution has ended; its job's name."""
    sagemaker, moment = aws.client("sagemaker"), datetime.now(UTC)
    output = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "1", "encoding": "CSV"}
    event = {"eventMetadata": {"eventId": "e"}, "eventVersion": "0"}
    lines = {
        "monitoring/predictions": {"captureData": {"endpointOutput": output}, **event},
        "monitoring/truth": {"groundTruthData": {"data": "2", "encoding": "CSV"}, **event},
    }
    for folder, line in lines.items():
        key = f"{folder}/{moment:%Y/%m/%d/%H}/a.jsonl"
        aws.client("s3").put_object(Bucket=names.bucket, Key=key, Body=json.dumps(line))
    name = f"{names.prefix}-quality"
    data = {
        "DataCapturedDestinationS3Uri": names.s3("monitoring/predictions"),
        "DatasetFormat": {"Json": {"Line": True}},
        "LocalPath": "/opt/ml/processing/input_data",
    }
    report = {"S3Uri": names.s3("monitoring/reports"), "LocalPath": "/opt/ml/processing/output"}
    sagemaker.create_model_quality_job_definition(
        JobDefinitionName=name,
        ModelQualityAppSpecification={"ImageUri": ANALYZER, "ProblemType": "Regression"},
        ModelQualityJobInput={
            "BatchTransformInput": data,
            "GroundTruthS3Input": {"S3Uri": names.s3("monitoring/truth")},
        },
        ModelQualityJobOutputConfig={"MonitoringOutputs": [{"S3Output": report}]},
        JobResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        RoleArn=names.role_arn("sagemaker"),
    )
    times = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "PT0S"}
    sagemaker.create_monitoring_schedule(
        MonitoringScheduleName=name,
        MonitoringScheduleConfig={
            "ScheduleConfig": times,
            "MonitoringJobDefinitionName": name,
            "MonitoringType": "ModelQuality",
        },
    )
    return ended_execution(name)


def keep_search(names: Names, feed: str) -> str:
    """A tuning job of `feed` that runs and has trained, named as that of the feed of `names`."""
    sagemaker, name = aws.client("sagemaker"), f"{names.tuning_prefix}-{feed[-6:]}-1"
    objective = {"Type": "Minimize", "MetricName": "loss"}
    channel = {"S3DataType": "S3Prefix", "S3Uri": names.s3("models/none/")}
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": objective,
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 750, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "seed", "MinValue": "0", "MaxValue": "9"}]},
        },
        TrainingJobDefinition={
            "AlgorithmSpecification": {
                "TrainingImage": EMPIRICAL,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
            },
            "RoleArn": names.role_arn("sagemaker"),
            "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": channel}}],
            "OutputDataConfig": {"S3OutputPath": names.s3("models/")},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
        Tags=[{"Key": "loopcast:feed", "Value": feed}],
    )
    while not sagemaker.list_training_jobs(NameContains=name, StatusEquals="Failed")["TrainingJobSummaries"]:
        time.sleep(0.05)
    return name


def ended_execution(schedule: str) -> str:
    while True:
        described = aws.client("sagemaker").describe_monitoring_schedule(MonitoringScheduleName=schedule)
        execution = described.get("LastMonitoringExecutionSummary", {})
        if execution.get("MonitoringExecutionStatus") in ("Completed", "Failed"):
            return str(execution["ProcessingJobArn"].rpartition("/")[2])
        time.sleep(0.05)


def keep_log(group: str, stream: str) -> None:
    logs = aws.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)


def remains(names: Names) -> list[str]:
    """Names with the feed's prefix that AWS still lists, found apart from the applier's own lists."""
    sagemaker = aws.client("sagemaker")
    answers: list[Any] = [
        aws.client("s3").list_buckets()["Buckets"],
        aws.client("kinesis").list_streams()["StreamNames"],
        aws.client("firehose").list_delivery_streams()["DeliveryStreamNames"],
        aws.client("dynamodb").list_tables()["TableNames"],
        aws.client("sqs").list_queues(QueueNamePrefix=names.prefix).get("QueueUrls", []),
        aws.client("events").list_event_buses()["EventBuses"],
        [role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]],
        aws.client("ssm").get_parameters_by_path(Path=names.parameters, Recursive=True)["Parameters"],
        aws.client("glue").get_databases()["DatabaseList"],
        aws.client("glue").get_crawlers()["Crawlers"],
        aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")[
            "ScalableTargets"
        ],
        aws.client("athena").list_work_groups()["WorkGroups"],
        aws.client("ecr").describe_repositories()["repositories"],
        aws.client("cloudwatch").list_dashboards()["DashboardEntries"],
        aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=names.prefix)["MetricAlarms"],
        aws.client("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"],
        aws.client("sns").list_topics()["Topics"],
        aws.client("sns").list_subscriptions()["Subscriptions"],
        aws.client("events").list_rules()["Rules"],
        aws.client("logs").describe_log_groups()["logGroups"],
        aws.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"],
        aws.client("logs").describe_log_streams(logGroupName="/aws-glue/crawlers")["logStreams"],
        sagemaker.list_endpoints()["Endpoints"],
        sagemaker.list_endpoint_configs()["EndpointConfigs"],
        sagemaker.list_models()["Models"],
        sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"],
        sagemaker.list_feature_groups()["FeatureGroupSummaries"],
        sagemaker.list_training_jobs()["TrainingJobSummaries"],
        sagemaker.list_processing_jobs()["ProcessingJobSummaries"],
    ]
    own = (f"{names.prefix}-", f"{names.prefix}/", names.glue_database, names.parameters)
    texts = [
        text
        for answer in answers
        for item in answer
        for text in (item.values() if isinstance(item, dict) else [item])
        if isinstance(text, str)
    ]
    return sorted(text for text in texts if text == names.prefix or any(part in text for part in own))


def test_destroy_leaves_nothing_and_says_what_it_removed(used: Stack) -> None:
    names = used.names
    assert len(remains(names)) > 30

    destroyed = used.run("destroy", "--yes")

    assert destroyed.code == 0, destroyed.errors
    assert remains(names) == []
    for line in (
        f"scaling endpoint/{names.endpoint('production')}/variant/AllTraffic: ended",
        f"log stream of /aws-glue/crawlers {names.archive}: deleted",
        f"Crawler {names.archive}: deleted",
        f"endpoint {names.endpoint('staging')}: deleted",
        f"endpoint configuration {names.prefix}-one: deleted",
        f"processing job {names.prefix}-step-1: stopped",
        f"ended processing job {names.prefix}-step-1: deleted",
        f"model {names.prefix}-one: deleted",
        f"ModelPackageGroup {names.model_package_group}: emptied of 1 model packages",
        f"Bucket {names.bucket}: emptied of 4 objects",
        f"Bucket {names.bucket}: deleted",
        f"Database {names.glue_database}: deleted",
        f"alarm {names.prefix}-loss: deleted",
        f"alarm {names.prefix}-worse: deleted",
        f"parameter {names.parameter('thresholds', 'staging')}: deleted",
        f"log group /aws/sagemaker/Endpoints/{names.endpoint('staging')}: deleted",
        f"log stream of /aws/sagemaker/TrainingJobs {names.prefix}-train-1/algo-1: deleted",
    ):
        assert line in destroyed.lines
    declared = len(used.resources())
    assert destroyed.lines[-2].startswith(
        "destroy: removed 1 scaling, 1 endpoint, 1 endpoint configuration, 1 processing job"
    )
    assert f"{declared} declared resources" in destroyed.lines[-2]
    assert destroyed.lines[-1] == f"destroy: looked again: nothing of {names.prefix} is left"


def test_destroy_removes_schedules_and_what_their_executions_left(stack: Stack) -> None:
    assert stack.run("apply").code == 0
    names, job = stack.names, keep_monitoring(stack.names)

    destroyed = stack.run("destroy", "--yes")

    assert destroyed.code == 0, destroyed.errors
    for line in (
        f"monitoring schedule {names.prefix}-quality: deleted",
        f"model quality job definition {names.prefix}-quality: deleted",
        f"ended processing job {job}: deleted",
        f"log stream of /aws/sagemaker/ProcessingJobs {job}/algo-1: deleted",
    ):
        assert line in destroyed.lines
    sagemaker = aws.client("sagemaker")
    schedule = f"{names.prefix}-quality"
    assert sagemaker.list_monitoring_schedules(NameContains=schedule)["MonitoringScheduleSummaries"] == []
    assert sagemaker.list_model_quality_job_definitions(NameContains=schedule)["JobDefinitionSummaries"] == []
    executions = sagemaker.list_monitoring_executions(MonitoringScheduleName=schedule)
    assert executions["MonitoringExecutionSummaries"] == []


def test_destroy_stops_searches_and_removes_what_they_trained(make_stack: Callable[[str], Stack]) -> None:
    stack = make_stack("rides-of-a-whole-city-by-hours")  # a tuning job's name has room for the beginning only
    assert stack.run("apply").code == 0
    name, other = keep_search(stack.names, stack.names.feed), keep_search(stack.names, "somebody-else")
    keep_log("/aws/sagemaker/TrainingJobs", f"{name}-001-1/algo-1")

    destroyed = stack.run("destroy", "--yes")

    assert destroyed.code == 0, destroyed.errors
    assert {f"tuning job {name}: stopped", f"ended tuning job {name}: deleted"} <= set(destroyed.lines)
    assert f"log stream of /aws/sagemaker/TrainingJobs {name}-001-1/algo-1: deleted" in destroyed.lines
    sagemaker = aws.client("sagemaker")
    assert sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"] == []
    searches = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=stack.names.tuning_prefix)
    assert [item["HyperParameterTuningJobName"] for item in searches["HyperParameterTuningJobSummaries"]] == [other]


def test_destroy_leaves_what_all_feeds_share(stack: Stack) -> None:
    shared = stack.manifests / "shared"
    assert stack.run_main(["apply", str(shared), "--feed", str(stack.feed)]).code == 0

    destroyed = stack.run_main(["destroy", str(shared), "--feed", str(stack.feed), "--yes"])

    assert destroyed.code == 0
    assert destroyed.lines[-2] == "destroy: removed nothing: there was nothing"
    repositories = aws.client("ecr").describe_repositories()["repositories"]
    assert "loopcast/operator" in {repository["repositoryName"] for repository in repositories}


def test_a_second_destroy_has_nothing_to_do(used: Stack) -> None:
    used.run("destroy", "--yes")

    again = used.run("destroy", "--yes")

    assert again.code == 0
    assert again.lines[-2] == "destroy: removed nothing: there was nothing"


def test_destroy_leaves_a_feed_alone_whose_name_begins_with_this_ones(
    make_stack: Callable[[str], Stack], used: Stack
) -> None:
    other = make_stack(f"{used.names.feed}-eu")
    assert other.run("apply").code == 0
    use(other.names)
    before = remains(other.names)

    assert used.run("destroy", "--yes").code == 0

    assert remains(other.names) == before
    assert [line for line in other.run("plan").lines[:-1] if not line.endswith(": unchanged")] == []


@pytest.mark.parametrize("answer", ["", "yes\n", "another-feed\n"])
def test_without_the_feeds_name_nothing_is_destroyed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    stack.run("apply")
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))

    refused = stack.run("destroy")

    assert (refused.code, refused.errors) == (1, ["nothing was removed"])
    assert stack.run("plan").lines[-1].endswith(" unchanged")


def test_with_the_feeds_name_all_is_destroyed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.run("apply")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{stack.names.feed}\n"))

    assert stack.run("destroy").code == 0
    assert remains(stack.names) == []


def test_what_appears_while_all_is_destroyed_makes_it_fail(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def traces(_: Owner) -> list[Sort]:
        looks: Iterator[list[str]] = iter([[], ["late/one"]])
        return [Sort("log stream", lambda: next(looks), lambda _: None)]

    shared = traces(Owner(stack.names, []))
    monkeypatch.setattr(leftovers, "traces", lambda _: shared)
    stack.run("apply")

    destroyed = stack.run("destroy", "--yes")

    assert destroyed.code == 1
    assert destroyed.errors == [
        "still there: log stream late/one",
        f"{stack.names.prefix}: not everything is gone: see above, then run this again",
    ]


def test_what_is_removed_is_counted_in_plain_words(used: Stack) -> None:
    keep_log("/aws/sagemaker/TrainingJobs", f"{used.names.prefix}-train-2/algo-1")

    assert ", 2 log streams of /aws/sagemaker/TrainingJobs" in used.run("destroy", "--yes").lines[-2]


@pytest.mark.parametrize(
    ("name", "owned"),
    [
        ("loopcast-fees", True),
        ("loopcast-fees-staging", True),
        ("loopcast-fees-eu-staging", False),
        ("loopcast-fees-europe-staging", True),
        ("loopcast-feesx-staging", False),
        ("other", False),
    ],
)
def test_a_resource_belongs_to_the_feed_with_the_longest_name_that_fits(name: str, owned: bool) -> None:
    assert Owner(Names("fees", ACCOUNT), ["loopcast-fees-eu"]).owns(name) == owned
