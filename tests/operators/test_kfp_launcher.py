"""Runs in Kubeflow Pipelines, over HTTP, with every body checked by KFP's own models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kfp_server_api
import pytest

from loopcast.clock import Clock
from operators.launchers import kfp as launchers
from operators.launchers.base import LauncherUnreachable, LaunchFailed, Recurring
from operators.launchers.kfp import KfpLauncher
from operators.runs import Run, RunState
from tests.operators.kfp_server import Kfp, serving

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def kfp() -> Iterator[Kfp]:
    with serving() as server:
        server.add_version("loopcast-build", "one", windows="NUMBER_INTEGER", poll_interval="NUMBER_DOUBLE")
        server.add_version("loopcast-monitor", "one", stage="STRING")
        yield server


@pytest.fixture
def launcher(kfp: Kfp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpLauncher]:
    monkeypatch.setattr(launchers.time, "sleep", lambda seconds: None)
    made = KfpLauncher(kfp.url, "name: fees", "loopcast-fees", Clock(), token=tmp_path / "token")
    yield made
    made._client.rest_client.pool_manager.clear()


def run(**fields: object) -> Run:
    made = Run(12, "build", "AlarmStanding", NOON, id="fees-retrain-12-h1", reason="The alarm degraded stands.")
    return replace(
        made, **{"arguments": {"windows": "8", "poll_interval": "0.5"}, "tags": {"stage": "staging"}} | fields
    )


def test_a_run_is_created_with_its_parameters_in_the_pipelines_own_types(kfp: Kfp, launcher: KfpLauncher) -> None:
    launcher.launch(run())
    [made] = kfp.all("runs")
    assert made["display_name"] == "fees-retrain-12-h1"
    assert made["runtime_config"]["parameters"] == {
        "windows": 8,
        "poll_interval": 0.5,
        "feed": "name: fees",
        "run_id": "fees-retrain-12-h1",
    }
    reference = made["pipeline_version_reference"]
    assert (reference["pipeline_id"], reference["pipeline_version_id"]) == ("loopcast-build", "id-one")
    [experiment] = kfp.all("experiments")
    assert (experiment["display_name"], made["experiment_id"]) == ("loopcast-fees", experiment["experiment_id"])


def test_a_run_bears_its_reason_and_labels(kfp: Kfp, launcher: KfpLauncher) -> None:
    launcher.launch(run())
    said = kfp.all("runs")[0]["description"]
    assert said.startswith("The alarm degraded stands.\n\n")
    assert "loopcast.io/trigger: AlarmStanding" in said
    assert "loopcast.io/stage: staging" in said


@pytest.mark.parametrize("faults", [[], ["drop"], [503, 429], ["drop", "drop"]])
def test_a_launch_that_is_repeated_or_disturbed_makes_one_run(
    kfp: Kfp, launcher: KfpLauncher, faults: list[int | str]
) -> None:
    kfp.faults = faults
    first = launcher.launch(run())
    again = replace(launcher, _known={}).launch(run())
    assert first == again
    assert len(kfp.all("runs")) == 1


def test_a_run_whose_creation_was_done_but_not_answered_is_found(kfp: Kfp, launcher: KfpLauncher) -> None:
    launcher.digest("build")
    assert launcher._experiment
    kfp.requests.clear()
    kfp.faults = ["", "", "drop-after"]  # the looks at the version and for the run, and the creation
    launcher.launch(run())
    assert len(kfp.all("runs")) == 1
    posts = [path for method, path in kfp.requests if method == "POST" and path.endswith("/runs")]
    assert len(posts) == 1


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("PENDING", RunState.RUNNING),
        ("RUNNING", RunState.RUNNING),
        ("PAUSED", RunState.RUNNING),
        ("CANCELING", RunState.RUNNING),
        ("RUNTIME_STATE_UNSPECIFIED", RunState.RUNNING),
        ("SUCCEEDED", RunState.SUCCEEDED),
        ("FAILED", RunState.FAILED),
        ("CANCELED", RunState.CANCELED),
        ("SKIPPED", RunState.SKIPPED),
    ],
)
def test_every_state_of_a_run_is_understood(kfp: Kfp, launcher: KfpLauncher, state: str, expected: RunState) -> None:
    launched = run(handle=launcher.launch(run()))
    kfp.end(state)
    assert launcher.progress(launched).state is expected


def test_no_state_that_the_published_client_knows_is_left_out() -> None:
    known = set(kfp_server_api.V2beta1RuntimeState.allowable_values)
    tested = {"PENDING", "RUNNING", "PAUSED", "CANCELING", "RUNTIME_STATE_UNSPECIFIED", *launchers._OVER}
    assert tested == known


def test_a_state_that_is_not_told_or_that_a_later_api_adds_is_no_end(kfp: Kfp, launcher: KfpLauncher) -> None:
    launched = run(handle=launcher.launch(run()))
    del kfp.all("runs")[0]["state"]
    assert launcher.progress(launched).state is RunState.RUNNING


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_a_run_that_ended_badly_may_say_why_in_its_history_alone(kfp: Kfp, launcher: KfpLauncher, state: str) -> None:
    launched = run(handle=launcher.launch(run()))
    kfp.end(state)
    error = {"code": 2, "message": "The step train ran out of memory."}
    kfp.all("runs")[0]["state_history"] = [{"state": "RUNNING"}, {"state": state, "error": error}]
    assert launcher.progress(launched).message == "The step train ran out of memory."


def test_a_run_whose_end_was_read_is_found_by_its_name_when_its_handle_was_not_written_down(
    kfp: Kfp, launcher: KfpLauncher
) -> None:
    launcher.launch(run())
    kfp.end("SUCCEEDED")
    assert launcher.progress(run()).state is RunState.SUCCEEDED


def test_the_pods_of_runs_have_the_service_account_that_was_named(kfp: Kfp, launcher: KfpLauncher) -> None:
    replace(launcher, service_account="pipelines").launch(run())
    assert replace(launcher, service_account="pipelines").ensure_recurring(HOURLY, NOON)
    assert [kfp.all(kind)[0]["service_account"] for kind in ("runs", "recurringruns")] == ["pipelines", "pipelines"]
    assert launcher.ensure_recurring(HOURLY, NOON)  # another account is another recurring run


def test_a_run_tells_which_policy_launched_it(kfp: Kfp, launcher: KfpLauncher) -> None:
    launcher.launch(run(policy="fees"))
    assert "loopcast.io/policy: fees" in kfp.all("runs")[0]["description"]


def test_a_failed_run_says_why_and_a_deleted_one_has_failed(kfp: Kfp, launcher: KfpLauncher) -> None:
    launched = run(handle=launcher.launch(run()))
    kfp.end("FAILED", "The step train failed.")
    assert launcher.progress(launched).message == "The step train failed."
    kfp.items["runs"].clear()
    assert launcher.progress(launched).state is RunState.FAILED


def test_a_run_is_cancelled_also_when_it_is_gone(kfp: Kfp, launcher: KfpLauncher) -> None:
    launched = run(handle=launcher.launch(run()))
    launcher.cancel(launched)
    assert kfp.all("runs")[0]["state"] == "CANCELING"
    kfp.items["runs"].clear()
    launcher.cancel(launched)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pipeline": "nowhere"}, "no pipeline loopcast-nowhere"),
        ({"arguments": {"speed": "1"}}, "no parameter speed"),
        ({"arguments": {"windows": "many"}}, "wrong type"),
    ],
)
def test_what_can_never_be_launched_is_refused(launcher: KfpLauncher, fields: dict[str, object], said: str) -> None:
    with pytest.raises(LaunchFailed, match=said):
        launcher.launch(run(**fields))


def test_a_refusal_by_the_server_is_not_tried_again_and_its_absence_only_so_often(
    kfp: Kfp, launcher: KfpLauncher
) -> None:
    kfp.faults = [403]
    with pytest.raises(LaunchFailed, match="403"):
        launcher.launch(run())
    assert len(kfp.requests) == 1
    kfp.faults = [500] * 100
    with pytest.raises(LauncherUnreachable):
        launcher.launch(run())
    assert len(kfp.requests) == 1 + launchers.ATTEMPTS


def test_changed_code_is_the_newest_version(kfp: Kfp, launcher: KfpLauncher) -> None:
    assert launcher.digest("build") == "one"
    kfp.add_version("loopcast-build", "two")
    assert launcher.digest("build") == "two"
    assert launcher.digest("nowhere") == ""


HOURLY = Recurring("fees-monitor-staging", "monitor", timedelta(hours=1), {"stage": "staging"})


def test_a_recurring_run_is_made_once_changed_and_removed(kfp: Kfp, launcher: KfpLauncher) -> None:
    assert [launcher.ensure_recurring(HOURLY, NOON) for _ in range(3)] == [True, False, False]
    [made] = kfp.all("recurringruns")
    assert made["trigger"]["periodic_schedule"]["interval_second"] == "3600"
    assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == ("1", True, "ENABLE")
    assert made["runtime_config"]["parameters"]["stage"] == "staging"
    assert made["runtime_config"]["parameters"]["run_id"] == "fees-monitor-staging-[[ScheduledTime]]"
    assert launcher.ensure_recurring(replace(HOURLY, interval=timedelta(hours=2)), NOON)
    assert [item["trigger"]["periodic_schedule"]["interval_second"] for item in kfp.all("recurringruns")] == ["7200"]
    assert [launcher.remove_recurring(HOURLY.name) for _ in range(2)] == [True, False]


def test_of_two_recurring_runs_that_replicas_made_at_once_one_stays(kfp: Kfp, launcher: KfpLauncher) -> None:
    launcher.ensure_recurring(HOURLY, NOON)
    [made] = kfp.all("recurringruns")
    kfp.items["recurringruns"]["twin"] = made | {"recurring_run_id": "twin"}
    launcher.ensure_recurring(HOURLY, NOON)
    assert len(kfp.all("recurringruns")) == 1


def test_a_token_is_read_anew_for_each_call(kfp: Kfp, launcher: KfpLauncher) -> None:
    for token in ("first", "second"):
        launcher.token.write_text(f"{token}\n")
        launcher.digest("build")
    assert {"Bearer first", "Bearer second"} <= kfp.tokens
