from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.gitops.argo import ENVIRONMENTS, Environment, Repository
from tests.gitops.schema import argo_definitions


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    """Every environment, rendered from a copy of the checkout."""
    for tool in ("helm", "kubectl"):
        if not shutil.which(tool):
            pytest.skip(f"there is no {tool}: nothing can be rendered")
    repository = Repository(tmp_path_factory.mktemp("repository"))
    return {name: Environment(name, repository) for name in ENVIRONMENTS}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest, environments: dict[str, Environment]) -> Environment:
    return environments[request.param]


@pytest.fixture(scope="session")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schemas of Argo CD's own kinds."""
    if not shutil.which("go"):
        pytest.skip("there is no go: Argo CD's definitions can't be had")
    return argo_definitions(Path(tmp_path_factory.mktemp("go")))
