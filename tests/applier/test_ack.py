"""Every manifest that ACK applies has ACK's own fields, by the definitions that its controllers publish."""

from __future__ import annotations

from typing import Any

import pytest

from applier.__main__ import DEFAULT_PATH
from applier.kinds import KINDS
from tests.applier.ack import RELEASES, Unavailable, definitions, faults
from tests.applier.test_declared import filled

FOLDERS = (DEFAULT_PATH, DEFAULT_PATH / "bootstrap", DEFAULT_PATH / "shared")
OURS = {
    "firehose.loopcast.io/v1alpha1 DeliveryStream": "ACK's has neither a Kinesis source nor a destination in S3",
    "glue.loopcast.io/v1alpha1 Crawler": "ACK's controller of Glue has no kinds",
    "glue.loopcast.io/v1alpha1 Database": "ACK's controller of Glue has no kinds",
    "cloudwatch.loopcast.io/v1alpha1 CompositeAlarm": "ACK has none",
}
"""Our own kinds, with the reason: ACK has none, or one that lacks what we need."""

Definitions = dict[tuple[str, str], Any]


@pytest.fixture(scope="module")
def ack(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    try:
        return definitions(tmp_path_factory.mktemp("ack"))
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.mark.charts
def test_every_manifest_has_acks_fields_with_their_types(ack: Definitions) -> None:
    wrong = []
    for folder in FOLDERS:
        for document in filled(folder):
            identity = (document["apiVersion"], document["kind"])
            if " ".join(identity) not in OURS:
                assert identity in ack, f"ACK has no {' '.join(identity)}"
                name = f"{document['kind']} {document['metadata']['name']}: spec"
                wrong += list(faults(document["spec"], ack[identity], name))
    assert wrong == []


@pytest.mark.charts
def test_our_own_kinds_are_none_of_acks(ack: Definitions) -> None:
    known = {kind for _, kind in ack}
    assert {identity.split()[1] for identity in OURS} & known == set()


def test_every_kind_is_one_of_a_release_that_is_pinned_or_our_own_with_a_reason() -> None:
    for kind in KINDS:
        group = kind.api_version.split(".")[0]
        assert f"{kind.api_version} {kind.name}" in OURS if kind.ours else group in RELEASES


def test_the_page_on_aws_resources_names_the_pinned_releases() -> None:
    page = (DEFAULT_PATH.parents[1] / "docs" / "aws-resources.md").read_text()
    for service, release in RELEASES.items():
        assert f"| {service} | {release.removeprefix('v')} |" in page


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "a", "shards": 1}, "spec.shards is no field"),
        ({"name": 1}, "spec.name must be of the type string, and is 1"),
        ({}, "spec.name is missing"),
        ({"name": "a", "count": True}, "spec.count must be of the type integer, and is True"),
        ({"name": "a", "items": [{"key": 1}]}, "spec.items[0].key must be of the type string, and is 1"),
    ],
)
def test_what_an_api_server_would_refuse_or_drop_is_found(value: dict[str, Any], said: str) -> None:
    fields = {"name": {"type": "string"}, "count": {"type": "integer"}}
    items = {"type": "array", "items": {"type": "object", "properties": {"key": {"type": "string"}}}}
    schema = {"type": "object", "required": ["name"], "properties": {**fields, "items": items}}

    assert list(faults(value, schema, "spec")) == [said]
