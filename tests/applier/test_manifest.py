"""Mistakes in a manifest: each is named with its file and line, and nothing is applied."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from applier.manifest import ManifestError, read_manifests
from applier.resources import Place, Resource, resources_of

TABLE = """\
apiVersion: dynamodb.services.k8s.aws/v1alpha1
kind: Table
metadata:
  name: seen
spec:
  tableName: loopcast-${FEED}-seen
  keySchema:
    - attributeName: id
      keyType: HASH
"""


def resources(tmp_path: Path, text: str) -> list[Resource]:
    file = tmp_path / "it.yaml"
    file.write_text(textwrap.dedent(text))
    return resources_of(read_manifests(file, {"FEED": "a"}), Place("000000000000", "us-east-1"))


def mistake(tmp_path: Path, text: str) -> str:
    with pytest.raises(ManifestError) as raised:
        resources(tmp_path, text)
    return str(raised.value).replace(f"{tmp_path}/", "")


def test_a_spec_is_read_under_the_apis_own_names(tmp_path: Path) -> None:
    (table,) = resources(tmp_path, TABLE)

    assert table.spec == {
        "TableName": "loopcast-a-seen",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("keySchema", "keyScheme", "it.yaml:7: spec.keyScheme: unknown field; did you mean keySchema?"),
        ("keyType", "keytype", "it.yaml:9: spec.keySchema[0].keytype: unknown field; did you mean keyType?"),
        ("HASH", "HASHED", "it.yaml:9: spec.keySchema[0].keyType: HASHED is not one of HASH, RANGE"),
        ("HASH", "7", "it.yaml:9: spec.keySchema[0].keyType must be text: put it in quotes"),
        ("HASH", "2026-01-01", "it.yaml:9: spec.keySchema[0].keyType must be text: put it in quotes"),
        ("      keyType: HASH\n", "", "it.yaml:8: spec.keySchema[0] needs keyType"),
        ("- attributeName", "  attributeName", "it.yaml:8: spec.keySchema must be a list"),
        (
            "  keySchema",
            "  tableName: b\n  keySchema",
            "it.yaml:7: tableName: the key stands twice",
        ),
        ("${FEED}", "${FED}", "it.yaml:6: ${FED} is not a placeholder: there are ${FEED}"),
        (
            "kind: Table",
            "kind: Tables",
            "it.yaml:1: unknown kind dynamodb.services.k8s.aws/v1alpha1 Tables; "
            "did you mean dynamodb.services.k8s.aws/v1alpha1 Table?",
        ),
        ("  name: seen", "  title: seen", "it.yaml:4: title: unknown field"),
        ("kind: Table\n", "", "it.yaml:1: a resource needs kind"),
        (
            "  name: seen",
            "  name: seen\n  annotations:\n    loopcast.io/create_only: 'true'",
            "it.yaml:6: loopcast.io/create_only: unknown annotation; did you mean loopcast.io/create-only?",
        ),
        (
            "  name: seen",
            "  name: seen\n  annotations:\n    loopcast.io/create-only: true",
            "it.yaml:6: this must be text: put it in quotes",
        ),
        (
            "  name: seen",
            "  name: seen\n  annotations:\n    services.k8s.aws/deletion-policy: keep",
            "it.yaml:6: services.k8s.aws/deletion-policy must be retain or delete, in quotes",
        ),
        (
            "  name: seen",
            "  name: seen\n  annotations:\n    loopcast.io/after: Table sene",
            "it.yaml:1: no manifest declares Table sene, which seen refers to",
        ),
        ("tableName: loopcast-${FEED}-seen", "billingMode: PAY_PER_REQUEST", "it.yaml:1: Table needs spec.tableName"),
        ("kind: Table", "kind: [Table", "it.yaml:3: not YAML: did not find expected ',' or ']'"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TABLE
    assert mistake(tmp_path, TABLE.replace(old, new, 1)) == said


def test_every_resource_with_a_mistake_is_reported_at_once(tmp_path: Path) -> None:
    second = TABLE.replace("name: seen", "name: other").replace("HASH", "HUSH")

    said = mistake(tmp_path, f"{TABLE.replace('keySchema', 'keyScheme')}---\n{second}")

    assert [line.partition(": ")[0] for line in said.splitlines()] == ["it.yaml:7", "it.yaml:19"]


def test_a_resource_declared_twice_is_refused(tmp_path: Path) -> None:
    assert mistake(tmp_path, f"{TABLE}---\n{TABLE}") == "it.yaml:11: there are two resources Table seen"


RULE = """\
    apiVersion: eventbridge.services.k8s.aws/v1alpha1
    kind: Rule
    metadata:
      name: ingest
    spec:
      name: ingest
      eventBusRef:
        from:
          name: bus
"""


def test_a_reference_stands_for_the_name_and_the_order(tmp_path: Path) -> None:
    bus = """\
    apiVersion: eventbridge.services.k8s.aws/v1alpha1
    kind: EventBus
    metadata:
      name: bus
    spec:
      name: loopcast-a
"""
    first, second = resources(tmp_path, f"{RULE}    ---\n{bus}")

    assert (first.name, second.name) == ("loopcast-a", "ingest")
    assert second.spec["EventBusName"] == "loopcast-a"


def test_a_reference_to_what_is_not_declared_is_refused(tmp_path: Path) -> None:
    assert mistake(tmp_path, RULE) == "it.yaml:9: no manifest declares EventBus bus, which ingest refers to"


def test_a_folder_without_manifests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there is no"):
        read_manifests(tmp_path, {})
