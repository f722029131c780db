from __future__ import annotations

import sys

import pytest


@pytest.fixture
def python() -> str:
    """The interpreter that the tests run with."""
    return sys.executable
