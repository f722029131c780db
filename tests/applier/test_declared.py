"""What manifests/aws declares: the kernel's names, the feed's features, and nothing that AWS would refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.validate import ParamValidator

from applier.__main__ import DEFAULT_PATH
from applier.kinds.core import model
from applier.manifest import Cluster, placeholders, read_manifests
from applier.resources import Place, Resource, resources_of
from components.algorithms import CANDIDATES, EMPIRICAL
from components.deploy_endpoint.scaling import SETTINGS, Bounds
from components.monitor_constraints.images import analyzer_image
from components.train.hyperparameters import deepar_defaults
from components.train.images import deepar_image, own_image
from loopcast.clock import Clock
from loopcast.feed import load_feed
from loopcast.minute import feature_definitions
from loopcast.names import Names
from tests.applier.conftest import ACCOUNT, DEFAULT_FEED, REGION, Stack

NAMES = Names("bitcoin-fees", ACCOUNT)
PARTS = (
    "poller",
    "deduplicator",
    "feature-writer",
    "repairer",
    "flink",
    "firehose",
    "crawler",
    "sagemaker",
    "pipelines",
    "operator",
)
IMAGES = ("ingestion", "flink", "forecaster", "pipelines", "operator", "local-aws")
ACK = "services.k8s.aws"
KNOWN_BY: dict[str, Callable[[str], tuple[str, str]]] = {
    "Queue": lambda name: ("queueURL", f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"),
    "Topic": lambda name: ("arn", f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"),
}
"""What ACK adopts by something else than what the spec says: these names come from its controllers."""
STAGES = ("staging", "production")
METRIC_ALARMS = ("quantile-loss", "missing-minutes", "feature-drift", "monitor-silent")
SPREAD_OVER_THE_ACCOUNT = {
    "application-autoscaling:DeregisterScalableTarget",  # targets have ids of AWS's own; conditions name the service
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:RegisterScalableTarget",
    "cloudwatch:DescribeAlarmHistory",
    "cloudwatch:DescribeAlarms",  # one that is scoped answers nothing of composite alarms
    "cloudwatch:GetMetricData",
    "cloudwatch:PutMetricData",  # has no resources; a condition names the namespace
    "ecr:GetAuthorizationToken",
    "iam:CreateServiceLinkedRole",  # one of AWS's own, which Application Auto Scaling acts by
    "sagemaker:ListEndpoints",
    "sagemaker:ListModelPackages",
    "sagemaker:ListTrainingJobs",
    "sagemaker:ListTransformJobs",
}


@pytest.fixture
def declared(make_stack: Callable[[str], Stack]) -> list[Resource]:
    return make_stack("bitcoin-fees").resources()


def named(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {resource.name: resource for resource in resources if resource.kind.name == kind}


@pytest.mark.parametrize("feed", ["bitcoin-fees", "sensor-load"])
def test_every_name_of_the_kernel_is_declared_and_no_other(make_stack: Callable[[str], Stack], feed: str) -> None:
    names = Names(feed, ACCOUNT)

    declared = {(resource.kind.name, resource.name) for resource in make_stack(feed).resources()}

    assert declared - {item for item in declared if item[0] == "Parameter"} == {
        ("EventBus", names.bus),
        ("Rule", names.rule),
        ("Rule", names.model_packages_rule),
        ("Rule", names.endpoints_rule),
        ("Topic", names.topic),
        ("Queue", names.notifications_queue),
        ("Subscription", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{names.notifications_queue}"),
        *(("MetricAlarm", names.alarm(stage, kind)) for stage in STAGES for kind in METRIC_ALARMS),
        ("MetricAlarm", names.alarm("production", "unsound-forecasts")),
        *(("CompositeAlarm", names.alarm(stage, "degraded")) for stage in STAGES),
        ("Queue", names.queue),
        ("Queue", names.dead_letter_queue),
        ("Table", names.seen_table),
        ("Table", names.positions_table),
        ("Table", names.launches_table),
        ("Stream", names.events_stream),
        ("Stream", names.minutes_stream),
        ("Stream", names.late_stream),
        ("DeliveryStream", names.archive),
        ("Crawler", names.archive),
        ("FeatureGroup", names.feature_group),
        ("ModelPackageGroup", names.model_package_group),
        ("Database", names.glue_database),
        ("WorkGroup", names.athena_workgroup),
        ("Bucket", names.bucket),
        ("Dashboard", names.dashboard),
        *(("Repository", names.repository(image)) for image in (*CANDIDATES, EMPIRICAL, "pipelines")),
        *(("Role", names.role(part)) for part in PARTS),
    }


def test_the_parameters_are_the_hyperparameters_that_training_knows(declared: list[Resource]) -> None:
    feed = load_feed("feeds/bitcoin-fees.yaml")
    parameters = named(declared, "Parameter")

    prefix = NAMES.parameter("hyperparameters", "deepar", "")
    candidates = parameters.pop(NAMES.parameter("candidates"))
    scaling = [parameters.pop(name) for name in list(parameters) if "/scaling/" in name]
    values = {name.removeprefix(prefix): resource.spec["Value"] for name, resource in parameters.items()}

    assert values.items() <= deepar_defaults(feed).items()
    assert {"context_length", "epochs", "likelihood", "learning_rate"} <= set(values)
    assert tuple(candidates.spec["Value"].split(",")) == CANDIDATES
    assert all(resource.create_only for resource in (candidates, *scaling, *parameters.values()))


def test_production_scales_between_bounds_that_its_deployments_know(declared: list[Resource]) -> None:
    prefix = NAMES.parameter("scaling", "production", "")
    values = {
        name.removeprefix(prefix): float(resource.spec["Value"])
        for name, resource in named(declared, "Parameter").items()
        if name.startswith(prefix)
    }

    assert set(values) == set(SETTINGS)
    Bounds(int(values["min_instances"]), int(values["max_instances"]), values["invocations_per_minute"])


def test_the_feature_group_has_the_feeds_features(declared: list[Resource]) -> None:
    (group,) = named(declared, "FeatureGroup").values()
    catalog = group.spec["OfflineStoreConfig"]["DataCatalogConfig"]

    assert group.spec["FeatureDefinitions"] == feature_definitions(load_feed("feeds/bitcoin-fees.yaml"))
    assert (group.spec["RecordIdentifierFeatureName"], group.spec["EventTimeFeatureName"]) == (
        "record_id",
        "event_time",
    )
    assert catalog["Database"] == NAMES.glue_database
    offline = group.spec["OfflineStoreConfig"]["S3StorageConfig"]["S3Uri"]
    assert f"{offline}/" == NAMES.s3(NAMES.offline_store_prefix)


def test_the_rule_passes_the_pollers_events_to_the_queue(declared: list[Resource]) -> None:
    rule = named(declared, "Rule")[NAMES.rule]

    assert json.loads(rule.spec["EventPattern"]) == {
        "source": [NAMES.event_source],
        "detail-type": [NAMES.event_detail_type],
    }
    assert rule.spec["EventBusName"] == NAMES.bus
    assert [target["Arn"].split(":")[-1] for target in rule.spec["Targets"]] == [NAMES.queue]


def test_a_message_that_always_fails_ends_in_the_dead_letter_queue(declared: list[Resource]) -> None:
    redrive = json.loads(named(declared, "Queue")[NAMES.queue].spec["RedrivePolicy"])

    assert redrive["deadLetterTargetArn"].split(":")[-1] == NAMES.dead_letter_queue


def test_the_archive_holds_one_event_a_line_where_its_readers_look(declared: list[Resource]) -> None:
    (archive,) = named(declared, "DeliveryStream").values()
    destination = archive.spec["ExtendedS3DestinationConfiguration"]

    assert archive.spec["KinesisStreamSourceConfiguration"]["KinesisStreamARN"].endswith(f"/{NAMES.events_stream}")
    assert destination["BucketARN"] == f"arn:aws:s3:::{NAMES.bucket}"
    assert destination["RoleARN"] == NAMES.role_arn("firehose")
    assert (destination["Prefix"], destination["CompressionFormat"]) == (NAMES.raw_prefix, "GZIP")
    assert destination["ProcessingConfiguration"]["Processors"] == [
        {
            "Type": "AppendDelimiterToRecord",
            "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}],
        }
    ]


def test_a_model_is_retrained_for_its_errors_and_not_for_holes_in_its_input(declared: list[Resource]) -> None:
    for stage in STAGES:
        degraded = named(declared, "CompositeAlarm")[NAMES.alarm(stage, "degraded")]
        loss, holes = (NAMES.alarm(stage, kind) for kind in ("quantile-loss", "missing-minutes"))
        assert degraded.spec["AlarmRule"] == f'ALARM("{loss}") AND NOT ALARM("{holes}")'
        assert {("MetricAlarm", loss), ("MetricAlarm", holes)} <= degraded.after
        looks = [named(declared, "MetricAlarm")[name].spec for name in (loss, holes)]
        assert looks[1]["DatapointsToAlarm"] == 1
        assert len({(spec["Period"], spec["EvaluationPeriods"]) for spec in looks}) == 1, "no loss of a hole counts"


def test_a_stages_limit_is_in_its_parameter_and_not_in_its_alarm(declared: list[Resource]) -> None:
    for stage in STAGES:
        spec = named(declared, "MetricAlarm")[NAMES.alarm(stage, "quantile-loss")].spec
        assert (spec["MetricName"], spec["Threshold"], spec["ComparisonOperator"]) == (
            "QuantileLossRatio",
            1,
            "GreaterThanThreshold",
        )
        assert spec["DatapointsToAlarm"] < spec["EvaluationPeriods"]
        assert spec["TreatMissingData"] == "ignore"


def test_every_alarm_says_what_happened_and_where_to_look(declared: list[Resource]) -> None:
    sections = set(re.findall(r"^## (.+)$", (DEFAULT_PATH.parent.parent / "docs" / "runbook.md").read_text(), re.M))
    for resource in (*named(declared, "MetricAlarm").values(), *named(declared, "CompositeAlarm").values()):
        description = resource.spec["AlarmDescription"]
        (section,) = re.findall(r" Runbook: docs/runbook\.md#(\S+)$", description)
        assert section in sections
        assert f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#dashboards/" in description
        assert len(description) <= 1024


def test_who_is_told_of_an_alarm_is_told_of_its_end_and_of_nothing_twice(declared: list[Resource]) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAMES.topic}"
    alarms = {**named(declared, "MetricAlarm"), **named(declared, "CompositeAlarm")}
    told = {name for name, alarm in alarms.items() if alarm.spec.get("AlarmActions") == [topic]}
    assert set(alarms) - told == {NAMES.alarm(stage, "quantile-loss") for stage in STAGES}
    assert {name for name, alarm in alarms.items() if alarm.spec.get("OKActions") == [topic]} == told


@pytest.mark.parametrize("speed", [0.5, 1, 2, 60, 120, 200, 10_000])
def test_alarms_are_valid_on_cloudwatch_at_any_speed(
    make_stack: Callable[[str], Stack], monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    monkeypatch.setenv("LOOPCAST_SPEED", str(speed))
    for alarm in named(make_stack("bitcoin-fees").resources(), "MetricAlarm").values():
        period, periods = alarm.spec["Period"], alarm.spec["EvaluationPeriods"]
        stated = 60 if alarm.spec["MetricName"] == "UnsoundForecasts" else 3600
        assert period == Clock(speed).alarm_period(stated)
        assert period * periods <= (604_800 if period >= 3600 else 86_400)


def test_the_dashboard_shows_every_alarm_and_every_metric_that_one_watches(declared: list[Resource]) -> None:
    (dashboard,) = named(declared, "Dashboard").values()
    widgets = json.loads(dashboard.spec["DashboardBody"])["widgets"]
    alarms = {**named(declared, "MetricAlarm"), **named(declared, "CompositeAlarm")}

    (shown,) = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert {arn.rpartition(":")[2] for arn in shown} == set(alarms)

    drawn = {
        tuple(item for item in metric if isinstance(item, str))
        for widget in widgets
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
    }
    for alarm in named(declared, "MetricAlarm").values():
        dimensions = [text for item in alarm.spec["Dimensions"] for text in (item["Name"], item["Value"])]
        assert (alarm.spec["Namespace"], alarm.spec["MetricName"], *dimensions) in drawn


def test_the_stream_of_events_has_the_feeds_shards(tmp_path: Path) -> None:
    feed = tmp_path / "feed.yaml"
    feed.write_text(DEFAULT_FEED.read_text().replace("shards: 1 ", "shards: 3 "))
    values = placeholders(load_feed(feed), ACCOUNT, REGION)

    resources = resources_of(read_manifests(DEFAULT_PATH, values), Place(ACCOUNT, REGION))

    shards = {name: stream.spec["ShardCount"] for name, stream in named(resources, "Stream").items()}
    assert shards == {NAMES.events_stream: 3, NAMES.minutes_stream: 1, NAMES.late_stream: 1}


def test_what_holds_data_is_retained(declared: list[Resource]) -> None:
    assert {resource.kind.name for resource in declared if resource.retained} == {
        "Bucket",
        "Database",
        "FeatureGroup",
        "ModelPackageGroup",
        "Repository",
    }


def test_ack_adopts_what_is_there_by_what_its_api_knows_it_by() -> None:
    """A subscription needs no adoption: Subscribe answers with the one that is there."""
    for path in (DEFAULT_PATH, DEFAULT_PATH / "shared", DEFAULT_PATH / "bootstrap"):
        for document in filled(path):
            annotations = document["metadata"].get("annotations", {})
            is_acks = annotations.get("loopcast.io/applied-by") != "applier"
            adopted = annotations.get(f"{ACK}/adoption-policy") == "adopt-or-create"
            assert adopted == (is_acks and document["kind"] != "Subscription"), document["metadata"]["name"]
            fields = json.loads(annotations.get(f"{ACK}/adoption-fields", "{}"))
            if document["kind"] in KNOWN_BY:
                (known,) = fields.items()
                assert known == KNOWN_BY[document["kind"]](next(iter(document["spec"].values())))
            else:
                assert fields.items() <= document["spec"].items()


def test_what_ack_lacks_or_would_overwrite_is_left_to_the_applier_and_nothing_else(declared: list[Resource]) -> None:
    assert {resource.kind.name for resource in declared if resource.left_by_ack} == {
        "CompositeAlarm",
        "Crawler",
        "Database",
        "DeliveryStream",
        "Parameter",
    }
    for resource in declared:
        assert resource.left_by_ack == (resource.kind.ours or resource.create_only), resource


def test_what_a_cluster_pulls_is_declared_once_for_all_feeds(make_stack: Callable[[str], Stack]) -> None:
    stack = make_stack("bitcoin-fees")
    values = placeholders(load_feed(stack.feed), ACCOUNT, REGION)

    shared = resources_of(read_manifests(DEFAULT_PATH / "shared", values), Place(ACCOUNT, REGION))

    assert {resource.name for resource in shared} == {f"loopcast/{image}" for image in IMAGES}
    assert all(resource.shared and resource.retained for resource in shared)
    assert not [resource for resource in stack.resources() if resource.shared]
    texts = [file.read_text() for file in (DEFAULT_PATH / "shared").glob("*.yaml")]
    assert not [text for text in texts if "${" in text]


def test_who_leaves_the_account_is_told_to_delete_each_repository_that_all_feeds_share() -> None:
    page = (DEFAULT_PATH.parents[1] / "docs" / "install-on-eks.md").read_text()
    loop = f"for image in {' '.join(IMAGES)}; do\n  aws ecr delete-repository --force --repository-name loopcast/$image"
    assert loop in page


def test_every_repository_scans_what_is_pushed_and_forgets_what_has_no_tag(declared: list[Resource]) -> None:
    for repository in named(declared, "Repository").values():
        (rule, *_) = json.loads(repository.spec["lifecyclePolicy"])["rules"]
        assert rule["selection"]["tagStatus"] == "untagged"
        assert repository.spec["imageScanningConfiguration"] == {"scanOnPush": True}
        assert repository.spec["imageTagMutability"] == "IMMUTABLE"


def test_every_prefix_but_those_of_data_and_models_expires(declared: list[Resource]) -> None:
    (bucket,) = named(declared, "Bucket").values()
    rules = {rule["ID"]: rule for rule in bucket.spec["Lifecycle"]["Rules"]}
    expiring = {rule["Filter"]["Prefix"] for rule in rules.values() if "Expiration" in rule}
    known = {getattr(NAMES, name) for name in dir(NAMES) if name.endswith("_prefix")} - {NAMES.tuning_prefix}

    assert known - expiring == {
        NAMES.raw_prefix,
        NAMES.offline_store_prefix,
        NAMES.models_prefix,
        NAMES.checkpoints_prefix,  # Flink deletes its own, and an old one can be a new one's part
    }
    assert rules["archive-to-glacier"]["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER"}]


def filled(path: Path) -> Iterator[dict[str, Any]]:
    """The documents as they are written, with their placeholders filled for the default feed."""
    values = placeholders(load_feed(DEFAULT_FEED), ACCOUNT, REGION)
    for file in sorted(path.glob("*.yaml")):
        text = file.read_text()
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        yield from yaml.safe_load_all(text)


def test_every_request_fits_the_apis_model(declared: list[Resource]) -> None:
    for resource in declared:
        for request, shape in requests(resource):
            report = ParamValidator().validate(request, shape)
            assert not report.has_errors(), f"{resource}: {report.generate_report()}"


def requests(resource: Resource) -> Iterator[tuple[Any, Any]]:
    """The requests that create the resource, with their shapes in botocore's model."""
    kind, spec = resource.kind, resource.spec
    for part in kind.parts:
        if part.field in spec:
            yield spec[part.field], part.shape(kind.service)
    body = {name: value for name, value in spec.items() if name in kind.fields}
    if kind.name in ("Queue", "Topic", "Subscription"):
        body["Attributes"] = {name: value for name, value in spec.items() if name not in kind.fields}
    if kind.name == "Database":
        body = {"DatabaseInput": body}
    yield body, model(kind.service).operation_model(kind.create).input_shape


POD_PARTS = tuple(part for part in PARTS if part not in ("firehose", "crawler", "sagemaker"))


@pytest.mark.parametrize("part", POD_PARTS)
def test_a_role_is_its_own_service_accounts_by_either_way_of_eks(part: str) -> None:
    cluster = Cluster("oidc.eks.us-east-1.amazonaws.com/id/1", "forecasts", "fees", "kubeflow/steps")
    values = placeholders(load_feed(DEFAULT_FEED), ACCOUNT, REGION, cluster)
    resources = resources_of(read_manifests(DEFAULT_PATH, values), Place(ACCOUNT, REGION))

    document = named(resources, "Role")[NAMES.role(part)].spec["AssumeRolePolicyDocument"]
    identity, account = json.loads(document)["Statement"]

    namespace = "kubeflow" if part == "pipelines" else "forecasts"
    tags = identity["Condition"]["StringEquals"]
    trusted = as_list(tags["aws:RequestTag/kubernetes-service-account"])
    assert identity["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert tags["aws:RequestTag/kubernetes-namespace"] == namespace
    assert trusted[0] == ("steps" if part == "pipelines" else f"fees-{part}")
    assert all(name.startswith(trusted[0]) for name in trusted)
    assert account["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{cluster.oidc_provider}"}
    claims = account["Condition"]["StringEquals"]
    assert claims[f"{cluster.oidc_provider}:aud"] == "sts.amazonaws.com"
    subjects = as_list(claims[f"{cluster.oidc_provider}:sub"])
    assert subjects == [f"system:serviceaccount:{namespace}:{name}" for name in trusted]


def test_nobody_deletes_from_the_archive(declared: list[Resource]) -> None:
    deletable = {
        part: {
            resource.partition("/")[2]
            for document in named(declared, "Role")[NAMES.role(part)].spec["InlinePolicies"].values()
            for statement in json.loads(document)["Statement"]
            if "s3:DeleteObject" in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }
        for part in PARTS
    }
    assert {part for part, prefixes in deletable.items() if prefixes} == {"flink", "sagemaker"}
    assert deletable["flink"] == {f"{NAMES.checkpoints_prefix}*"}
    assert f"{NAMES.raw_prefix}*" not in deletable["sagemaker"]


@pytest.mark.parametrize("part", PARTS)
def test_a_roles_documents_are_as_short_as_iam_takes_them(declared: list[Resource], part: str) -> None:
    spec = named(declared, "Role")[NAMES.role(part)].spec
    assert len("".join(spec["AssumeRolePolicyDocument"].split())) <= 2048
    assert len("".join("".join(spec["InlinePolicies"].values()).split())) <= 10_240


@pytest.mark.parametrize("part", PARTS)
def test_a_role_reaches_nothing_outside_its_feed(declared: list[Resource], part: str) -> None:
    role = named(declared, "Role")[NAMES.role(part)]
    own = re.compile(
        r"loopcast[-_/]bitcoin[-_]fees|:catalog$|:log-group:(/aws/sagemaker/|/aws-glue/crawlers)\*$|:repository/(forecasting-deepar|sagemaker-model-monitor-analyzer)$"
    )

    statements = [
        statement
        for document in role.spec["InlinePolicies"].values()
        for statement in json.loads(document)["Statement"]
    ]

    assert statements
    for statement in statements:
        actions = as_list(statement["Action"])
        assert not [action for action in actions if "*" in action]
        for resource in as_list(statement["Resource"]):
            assert own.search(resource) or set(actions) <= SPREAD_OVER_THE_ACCOUNT, statement


@pytest.mark.parametrize(
    "image", [own_image(NAMES, "empirical", "1"), deepar_image("us-east-1"), f"{analyzer_image('us-east-1')}:latest"]
)
def test_sagemakers_role_pulls_the_images_that_its_jobs_name(declared: list[Resource], image: str) -> None:
    account, repository = re.fullmatch(r"(\d+)\.dkr\.ecr\.us-east-1\.amazonaws\.com/([^:]+):\w+", image).groups()  # type: ignore[union-attr]
    (document,) = named(declared, "Role")[NAMES.role("sagemaker")].spec["InlinePolicies"].values()

    allowed = [
        pattern
        for statement in json.loads(document)["Statement"]
        if "ecr:BatchGetImage" in statement["Action"]
        for pattern in as_list(statement["Resource"])
    ]

    arn = f"arn:aws:ecr:us-east-1:{account}:repository/{repository}"
    assert any(fnmatchcase(arn, pattern) for pattern in allowed), allowed


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_every_prefix_that_a_policy_names_is_one_of_the_kernels(declared: list[Resource]) -> None:
    known = {getattr(NAMES, name) for name in dir(NAMES) if name.endswith("_prefix")} | {"raw-errors/"}

    text = "".join(json.dumps(dict(resource.spec)) for resource in declared)
    used = set(re.findall(rf"{NAMES.bucket}/([a-z-]+/?)", text))

    assert {prefix if prefix.endswith("/") else f"{prefix}/" for prefix in used} <= known


def test_the_manifests_are_yaml_before_their_placeholders_are_filled(make_stack: Callable[[str], Stack]) -> None:
    for file in make_stack("bitcoin-fees").manifests.glob("*.yaml"):
        assert all(document["kind"] for document in yaml.safe_load_all(file.read_text())), file
