"""Values come together as Helm's do."""

from __future__ import annotations

from pathlib import Path

import pytest

from install.values import BadValues, assigned, gather, merge, places, read


def test_later_values_win_and_mappings_are_merged() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": [1, 2]}, {"a": {"b": 3}, "d": [4]}) == {"a": {"b": 3, "c": 2}, "d": [4]}


def test_the_layers_are_left_as_they_were() -> None:
    below: dict[str, object] = {"a": {"b": 1}}
    merge(below, {"a": {"b": 2}})
    assert below == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("global.speed=60", {"global": {"speed": 60}}),
        ("local-aws.enabled=true", {"local-aws": {"enabled": True}}),
        ("a.tolerations=[{operator: Exists}]", {"a": {"tolerations": [{"operator": "Exists"}]}}),
        ("a.account='012345670123'", {"a": {"account": "012345670123"}}),
        ("a.text=", {"a": {"text": ""}}),
        ("a.url=http://x:1/?q=1", {"a": {"url": "http://x:1/?q=1"}}),
    ],
)
def test_a_setting_is_a_path_and_yaml(text: str, values: dict[str, object]) -> None:
    assert assigned(text) == values


@pytest.mark.parametrize("text", ["speed", "=1", "a..b=1", "a=[1"])
def test_a_setting_that_says_nothing_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadValues) as refused:
        assigned(text)
    assert f"--set {text}" in str(refused.value)


def test_settings_win_over_options_and_options_over_files(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("a: {b: 1, c: 1, d: 1}")
    assert gather("", [file], ["a.c=3"], {"a": {"b": 2, "c": 2}}) == {"a": {"b": 2, "c": 3, "d": 1}}


def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("- a\n")
    with pytest.raises(BadValues, match=r"values\.yaml is no mapping"):
        read(file)


def test_there_are_values_for_a_laptops_cluster_and_for_eks() -> None:
    assert places() == ["eks", "laptop-cluster"]
    assert all(gather(place, [], [], {}) for place in places())
