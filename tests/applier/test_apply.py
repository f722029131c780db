"""Plan, apply and delete against a real local AWS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from applier.__main__ import main
from loopcast import aws
from tests.applier.conftest import Said, Stack
from tests.conftest import Service

pytestmark = pytest.mark.usefixtures("sagemaker")


@pytest.fixture
def applied(stack: Stack) -> Stack:
    assert stack.run("apply").code == 0
    return stack


def changed(stack: Stack) -> list[str]:
    """What a plan says of the resources that aren't as declared."""
    return [line for line in stack.run("plan").lines[:-1] if not line.endswith(": unchanged")]


def test_a_plan_creates_nothing(stack: Stack) -> None:
    planned = stack.run("plan")

    assert planned.code == 0
    assert f"Stream {stack.names.events_stream}: create" in planned.lines
    assert planned.lines[-1] == f"plan: {len(planned.lines) - 1} create"
    assert stack.run("plan") == planned


def test_what_is_applied_is_there_and_ready(applied: Stack) -> None:
    names = applied.names

    stream = aws.client("kinesis").describe_stream_summary(StreamName=names.events_stream)
    archive = aws.client("firehose").describe_delivery_stream(DeliveryStreamName=names.archive)
    group = aws.client("sagemaker").describe_feature_group(FeatureGroupName=names.feature_group)
    expiry = aws.client("dynamodb").describe_time_to_live(TableName=names.seen_table)
    policy = aws.client("iam").get_role_policy(RoleName=names.role("poller"), PolicyName="poller")

    assert stream["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
    assert archive["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE"
    assert group["FeatureGroupStatus"] == "Created"
    assert expiry["TimeToLiveDescription"]["AttributeName"] == "expires_at"
    assert "events:PutEvents" in json.dumps(policy["PolicyDocument"])


def test_an_event_on_the_bus_arrives_in_the_queue(applied: Stack) -> None:
    names = applied.names
    entry = {
        "Source": names.event_source,
        "DetailType": names.event_detail_type,
        "Detail": '{"feed": "x"}',
        "EventBusName": names.bus,
    }

    aws.client("events").put_events(Entries=[entry])

    queue = aws.client("sqs").get_queue_url(QueueName=names.queue)["QueueUrl"]
    answer = aws.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)
    assert json.loads(answer["Messages"][0]["Body"])["detail"] == {"feed": "x"}


def test_a_second_apply_changes_nothing(applied: Stack) -> None:
    again = applied.run("apply")

    assert again.code == 0
    assert [line for line in again.lines[:-1] if not line.endswith(": unchanged")] == []
    assert again.lines[-1].startswith(f"apply: {len(again.lines) - 1} unchanged in ")


def test_a_value_that_its_owner_has_set_is_never_overwritten(applied: Stack) -> None:
    name = applied.names.parameter("hyperparameters", "deepar", "epochs")
    aws.client("ssm").put_parameter(Name=name, Value="7", Overwrite=True)

    again = applied.run("apply")

    assert f"Parameter {name}: unchanged" in again.lines
    assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "7"


UPDATES = [
    ("events.yaml", 'visibilityTimeout: "60"', 'visibilityTimeout: "90"', "Queue", "visibilityTimeout: 60 -> 90"),
    ("events.yaml", '"maxReceiveCount": 5', '"maxReceiveCount": 3', "Queue", "redrivePolicy: "),
    ("events.yaml", '"detail-type": ["events"]', '"detail-type": ["event"]', "Rule", "eventPattern: "),
    ("events.yaml", "- id: ingest", "- id: other", "Rule", "targets: "),
    ("bucket.yaml", "days: 90\n            storage", "days: 30\n            storage", "Bucket", "lifecycle.rules: "),
    ("bucket.yaml", "blockPublicPolicy: true", "blockPublicPolicy: false", "Bucket", "publicAccessBlock.blockPublic"),
    ("tables.yaml", "attributeName: expires_at", "attributeName: gone_at", "Table", "timeToLive.attributeName: exp"),
    ("archive.yaml", "intervalInSeconds: 60", "intervalInSeconds: 120", "DeliveryStream", "bufferingHints.interval"),
    ("features.yaml", "description: Queries of", "description: Questions of", "WorkGroup", "description: Queries of"),
    ("features.yaml", "/athena-results/", "/results/", "WorkGroup", "resultConfiguration.outputLocation: s3://"),
    ("features.yaml", "description: Minutes of", "description: The minutes of", "Database", "description: Minutes of"),
    (
        "models.yaml",
        "loopcast-pipelines\n  imageTagMutability: IMMUTABLE",
        "loopcast-pipelines\n  imageTagMutability: MUTABLE",
        "Repository",
        "imageTagMutability: IMMUTABLE -> MUTABLE",
    ),
    ("archive.yaml", "cron(20 0", "cron(40 0", "Crawler", "schedule: cron(20 0 * * ? *) -> cron(40 0"),
    ("archive.yaml", "description: Finds", "description: Looks for", "Crawler", "description: Finds the hours"),
    ("roles.yaml", "    poller: |", "    publisher: |", "Role", "inlinePolicies.publisher: nothing -> "),
    ("roles.yaml", "description: Publishes", "description: Puts", "Role", "description: Publishes"),
    (
        "alarms.yaml",
        "datapointsToAlarm: 3 # two",
        "datapointsToAlarm: 4 # two",
        "MetricAlarm",
        "datapointsToAlarm: 3 -> 4",
    ),
    ("alarms.yaml", "The model of staging has", "The model of the stage has", "CompositeAlarm", "alarmDescription: "),
    ("notifications.yaml", "displayName: Loopcast", "displayName: Forecasts of", "Topic", "displayName: Loopcast"),
    ("notifications.yaml", '"Sid": "events"', '"Sid": "rules"', "Topic", "policy: "),
    ("notifications.yaml", "  protocol: sqs", '  protocol: sqs\n  rawMessageDelivery: "true"', "Subscription", "raw"),
    ("notifications.yaml", "Endpoint <endpoint> is", "The endpoint <endpoint> is", "Rule", "targets: "),
    ("dashboard.yaml", '"title": "Behind:', '"title": "Late:', "Dashboard", "dashboardBody: "),
]


def test_each_changed_field_is_updated_and_then_left_alone(applied: Stack) -> None:
    for file, old, new, _, _ in UPDATES:
        applied.edit(file, old, new)

    planned = applied.run("plan").lines[:-1]
    updated = applied.run("apply")

    assert updated.code == 0, updated.errors
    for _, _, _, kind, difference in UPDATES:
        assert [line for line in planned if line.startswith(kind) and difference in line and ": update (" in line]
        assert [
            line for line in updated.lines if line.startswith(kind) and difference in line and ": updated (" in line
        ]
    assert changed(applied) == []
    assert removed_are_gone(applied)


def removed_are_gone(stack: Stack) -> bool:
    """A target and a policy that changed their name aren't there under the old one as well."""
    names = stack.names
    targets = aws.client("events").list_targets_by_rule(Rule=names.rule, EventBusName=names.bus)["Targets"]
    policies = aws.client("iam").list_role_policies(RoleName=names.role("poller"))["PolicyNames"]
    return [target["Id"] for target in targets] == ["other"] and policies == ["publisher"]


def test_another_speed_changes_the_alarms_periods(applied: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPCAST_SPEED", "120")

    planned = changed(applied)

    assert all(line.startswith("MetricAlarm ") for line in planned)
    assert sum("update (period: 3600 -> 30)" in line for line in planned) == 8
    assert sum("unsound-forecasts: update (period: 60 -> 10)" in line for line in planned) == 1
    assert applied.run("apply").code == 0
    assert changed(applied) == []


def test_a_subscription_that_nobody_has_confirmed_is_not_made_again_and_goes(stack: Stack) -> None:
    stack.edit("notifications.yaml", "  protocol: sqs", "  protocol: https")
    stack.edit(
        "notifications.yaml",
        "endpoint: arn:aws:sqs:${REGION}:${ACCOUNT}:loopcast-${FEED}-notifications",
        "endpoint: https://127.0.0.1:9/nobody",
    )
    assert stack.run("apply").code == 0

    assert changed(stack) == []
    deleted = stack.run("delete")
    assert deleted.code == 0, deleted.errors
    assert "Subscription https://127.0.0.1:9/nobody: deleted" in deleted.lines


def test_a_change_that_aws_has_no_call_for_is_refused_and_nothing_else_is_done(applied: Stack) -> None:
    line = applied.edit("models.yaml", "Models of the feed", "All models of the feed")
    applied.edit("events.yaml", 'visibilityTimeout: "60"', 'visibilityTimeout: "90"')

    refused = applied.run("apply")

    (sentence,) = refused.errors
    group = applied.names.model_package_group
    assert refused.code == 1
    assert sentence.startswith(f"{applied.manifests}/models.yaml:{line}: ModelPackageGroup {group}: ")
    assert "spec.modelPackageGroupDescription: Models of the feed" in sentence
    assert "can't be changed in place: put the old value back, or delete the resource" in sentence
    assert refused.lines == []
    assert len(changed(applied)) == 2


def test_a_metric_added_to_the_feed_becomes_a_feature(applied: Stack) -> None:
    add_metric(applied, "largest_fee", "{aggregate: sum, of: fee, unit: satoshi}")

    updated = applied.run("apply")

    group = aws.client("sagemaker").describe_feature_group(FeatureGroupName=applied.names.feature_group)
    assert updated.code == 0, updated.errors
    assert {"FeatureName": "largest_fee", "FeatureType": "Integral"}.items() <= group["FeatureDefinitions"][-1].items()
    assert changed(applied) == []


def test_a_metric_taken_out_of_the_feed_is_refused(applied: Stack) -> None:
    add_metric(applied, "largest_fee", "{aggregate: sum, of: fee, unit: satoshi}")
    applied.run("apply")
    applied.feed.write_text(applied.feed.read_text().replace("largest_fee", "another_fee"))

    refused = applied.run("apply")

    assert refused.code == 1
    assert "features.yaml:" in refused.errors[0]
    assert "spec.featureDefinitions: " in refused.errors[0]


def add_metric(stack: Stack, name: str, metric: str) -> None:
    text = stack.feed.read_text()
    stack.feed.write_text(text.replace("\nforecast:", f"\n  {name}: {metric}\n\nforecast:"))


def test_a_plan_with_a_refused_change_fails(applied: Stack) -> None:
    applied.edit("archive.yaml", "KinesisStreamAsSource", "DirectPut")

    planned = applied.run("plan")

    assert planned.code == 1
    assert [line for line in planned.lines if line.startswith("DeliveryStream") and ": refused (" in line]


def test_what_aws_refuses_is_named_and_what_waits_for_it_is_left(stack: Stack) -> None:
    stack.edit("events.yaml", 'messageRetentionPeriod: "1209600"', 'messageRetentionPeriod: "12096000"')

    failed = stack.run("apply")

    assert failed.code == 1
    assert failed.errors[0].startswith(f"Queue {stack.names.dead_letter_queue}: CreateQueue: ")
    assert failed.errors[1:] == ["2 resources that wait for these were left as they are"]
    assert f"Bucket {stack.names.bucket}: created" in failed.lines

    stack.edit("events.yaml", 'messageRetentionPeriod: "12096000"', 'messageRetentionPeriod: "1209600"')
    assert stack.run("apply").code == 0


def test_a_deletion_takes_all_but_what_is_retained_and_can_be_repeated(applied: Stack) -> None:
    names = applied.names

    deleted = applied.run("delete")

    assert deleted.code == 0, deleted.errors
    kept = [line for line in deleted.lines if line.endswith(": retained")]
    assert sorted(line.split()[0] for line in kept) == [
        *("Bucket", "Database", "FeatureGroup", "ModelPackageGroup"),
        *("Repository" for repository in applied.resources() if repository.kind.name == "Repository"),
    ]
    assert deleted.lines.index(f"Rule {names.rule}: deleted") < deleted.lines.index(f"Queue {names.queue}: deleted")
    degraded, loss = (names.alarm("staging", kind) for kind in ("degraded", "quantile-loss"))
    composite_at = deleted.lines.index(f"CompositeAlarm {degraded}: deleted")
    assert composite_at < deleted.lines.index(f"MetricAlarm {loss}: deleted")
    assert names.bucket in {bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]}
    assert names.events_stream not in aws.client("kinesis").list_streams()["StreamNames"]

    again = applied.run("delete")
    assert again.code == 0
    assert {line.rpartition(": ")[2] for line in again.lines} == {"retained", "wasn't there"}
    assert applied.run("apply").code == 0


def test_what_ack_leaves_can_be_applied_by_itself_once_the_rest_is_there(stack: Stack) -> None:
    left = [resource for resource in stack.resources() if resource.left_by_ack]

    early = stack.run("apply", "--left-by-ack")
    assert early.code == 1
    assert f"Database {stack.names.glue_database}: created" in early.lines
    assert stack.run("apply").code == 0
    again = stack.run("apply", "--left-by-ack")

    assert again.code == 0, again.errors
    assert again.lines[-1].startswith(f"apply: {len(left)} unchanged in ")
    deleted = stack.run("delete", "--left-by-ack")
    assert deleted.code == 0, deleted.errors
    assert stack.names.archive not in aws.client("firehose").list_delivery_streams()["DeliveryStreamNames"]
    assert stack.names.events_stream in aws.client("kinesis").list_streams()["StreamNames"]


def test_the_pipelines_role_trusts_the_account_that_kubeflow_runs_them_as(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPCAST_PIPELINES_ACCOUNT", "kubeflow/pipeline-runner")

    applied = stack.run_main(["apply", str(stack.manifests / "roles.yaml"), "--feed", str(stack.feed)])

    assert applied.code == 0
    role = aws.client("iam").get_role(RoleName=stack.names.role("pipelines"))["Role"]
    (pod_identity,) = [item for item in role["AssumeRolePolicyDocument"]["Statement"] if item["Sid"] == "PodIdentity"]
    assert pod_identity["Condition"]["StringEquals"] == {
        "aws:RequestTag/kubernetes-namespace": "kubeflow",
        "aws:RequestTag/kubernetes-service-account": "pipeline-runner",
    }


def test_the_appliers_own_role_goes_by_its_own_manifest(stack: Stack) -> None:
    bootstrap = [str(stack.manifests / "bootstrap"), "--feed", str(stack.feed)]
    assert stack.run_main(["apply", *bootstrap]).code == 0
    aws.client("iam").get_role(RoleName=stack.names.role("applier"))

    deleted = stack.run_main(["delete", *bootstrap])

    assert deleted.code == 0
    assert f"Role {stack.names.role('applier')}: deleted" in deleted.lines
    with pytest.raises(ClientError, match="NoSuchEntity"):
        aws.client("iam").get_role(RoleName=stack.names.role("applier"))


def test_a_crawler_that_runs_is_stopped_and_deleted(applied: Stack) -> None:
    aws.client("glue").start_crawler(Name=applied.names.archive)

    assert f"Crawler {applied.names.archive}: deleted" in applied.run("delete").lines


def test_a_second_feed_has_resources_of_its_own(make_stack: Callable[[str], Stack], applied: Stack) -> None:
    other = make_stack(f"{applied.names.feed}-eu")

    created = other.run("apply")

    assert created.code == 0
    assert all(line.endswith(": created") for line in created.lines[:-1])
    assert changed(applied) == []


def test_a_mistake_ends_the_command_with_2_and_where_it_is(aws: Service, stack: Stack) -> None:
    stack.edit("streams.yaml", "  name: loopcast-${FEED}-late\n  shardCount", "  name: loopcast-${FEED}-late\n  shards")
    command = [sys.executable, "-m", "applier", "apply", str(stack.manifests), "--feed", str(stack.feed)]

    wrong = subprocess.run(command, capture_output=True, text=True, env=dict(aws.env), timeout=120)

    assert wrong.returncode == 2
    assert "streams.yaml:34: spec.shards: unknown field; did you mean shardCount?" in wrong.stderr


def test_a_feed_that_is_not_there_ends_the_command_with_2(run_main: Callable[[list[str]], Said]) -> None:
    said = run_main(["plan", "--feed", "feeds/none.yaml"])

    assert said.code == 2
    assert said.errors[0].startswith("feeds/none.yaml: can't be read")


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    assert "plan     says what apply would do" in capsys.readouterr().out
