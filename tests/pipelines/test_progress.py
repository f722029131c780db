"""A run tells which step runs, how long it took, and in one sentence why it failed; KFP itself does the talking."""

import contextlib
import io
from pathlib import Path

import pytest
from kfp import dsl, local

from components.step import component
from pipelines.progress import Progress


@component
def greet(name: str) -> str:
    print(f"Unrelated: hello {name}")
    return name


@component
def refuse(name: str) -> str:
    from components.run import Refused

    try:
        raise KeyError("inner")
    except KeyError as error:
        raise Refused(f"There is no {name}: make one.") from error


@component
def crash(name: str) -> str:
    raise ValueError(f"bad {name}\n  twice")


@dsl.pipeline
def refusing():
    refuse(name=greet(name="parcel").output)


@dsl.pipeline
def crashing():
    crash(name=greet(name="parcel").output)


def follow(pipeline, folder: Path) -> tuple[Progress, list[str], str]:
    told: list[str] = []
    log = io.StringIO()
    progress = Progress(log, told.append)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder), workspace_root=str(folder / "w"))
    with contextlib.redirect_stdout(progress), pytest.raises(RuntimeError):
        pipeline()
    return progress, told, log.getvalue()


@pytest.mark.filterwarnings("ignore:You may be attemping to run a task")
def test_a_refusal_is_told_in_its_own_words(tmp_path: Path) -> None:
    progress, told, log = follow(refusing, tmp_path)
    assert set(progress.durations) == {"greet"}
    assert (progress.failed, progress.cause) == ("refuse", "There is no parcel: make one.")
    assert told[0].startswith("  greet: ")
    assert "failed after" in told[1]
    assert "hello parcel" in log


@pytest.mark.filterwarnings("ignore:You may be attemping to run a task")
def test_an_error_is_told_with_its_kind(tmp_path: Path) -> None:
    progress, _, _ = follow(crashing, tmp_path)
    assert progress.cause == "ValueError: bad parcel twice"
