"""Charts, rendered by helm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.charts.rendering import Helm, Object, need_helm

HERE = Path(__file__).parent
Render = Callable[..., list[Object]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.charts)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    need_helm()
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """`render(chart, values={}, release="loopcast", namespace="loopcast")`: the objects that the chart makes."""
    return helm.render
