"""When a model is retrained, as sentences about one decision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from operators.retraining import ALARM, OK, Observed, RetrainingStatus, decide
from operators.retraining_spec import RetrainingSpec
from operators.runs import Decision, Run, RunState

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STANDING = {"degraded": ALARM}
FRESH = RetrainingStatus()


def spec(triggers: Mapping[str, Any] | None = None, **fields: Any) -> RetrainingSpec:
    return RetrainingSpec.model_validate({"feed": "fees", "triggers": triggers or {"alarms": ["degraded"]}, **fields})


def run(state: RunState, ago: timedelta, sequence: int = 1, **fields: Any) -> Run:
    """A launch of so long before noon, over half an hour later if it is over."""
    launched = NOON - ago
    ended = launched + HOUR / 2 if state.over else None
    known = {"pipeline": "build", "trigger": "AlarmStanding", "id": f"fees-{sequence}"} | fields
    return Run(sequence, launched_at=launched, finished_at=ended, state=state, **known)


def decided(policy: RetrainingSpec, status: RetrainingStatus = FRESH, **observed: Any) -> Decision:
    return decide(policy, status, Observed(**({"now": NOON} | observed)))[0]


def reason(policy: RetrainingSpec, status: RetrainingStatus = FRESH, **observed: Any) -> str:
    return decided(policy, status, **observed).reason


def test_an_alarm_that_stands_launches_the_build_with_its_arguments() -> None:
    policy = spec(pipeline={"arguments": {"lookback_days": "7"}})
    decision = decided(policy, alarms=STANDING)
    assert decision.launch is not None
    assert (decision.launch.pipeline, decision.launch.arguments) == ("build", {"lookback_days": "7"})
    assert decision.reason == "AlarmStanding"
    assert decision.message == "The alarm degraded stands. A retraining is launched."


@pytest.mark.parametrize("alarms", [{"degraded": OK}, {"degraded": "INSUFFICIENT_DATA"}, {}])
def test_nothing_is_launched_while_no_alarm_stands(alarms: Mapping[str, str]) -> None:
    assert decided(spec(), alarms=alarms).launch is None


def test_what_can_not_be_read_is_said() -> None:
    decision, status = decide(spec(), FRESH, Observed(NOON))
    assert (decision.reason, status.alarm, status.state) == ("AlarmUnknown", "Unknown", "Idle")
    assert decision.message == "The alarm degraded can't be read, and nothing else is due."
    metric = spec({"metric": {"threshold": {"parameter": "/limit"}}})
    assert "The metric QuantileLoss, the threshold can't be read" in decided(metric).message


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED, RunState.SKIPPED])
def test_while_the_alarm_stands_a_run_is_followed_by_another_after_the_cool_down_however_it_ended(
    state: RunState,
) -> None:
    early = [run(state, ago=5 * HOUR)]
    late = [run(state, ago=7 * HOUR)]
    assert reason(spec(), alarms=STANDING, runs=early) == "CoolingDown"
    assert decided(spec(), alarms=STANDING, runs=late).launch is not None


def test_failures_in_a_row_are_waited_out_twice_as_long_each_time_up_to_a_limit() -> None:
    policy = spec(cooldown="1m", retry={"backoff": "1h", "maximum": "6h", "jitter": 0})
    waits = []
    for failed in range(1, 6):
        runs = [run(RunState.FAILED, timedelta(minutes=31), sequence) for sequence in range(failed)]
        status = decide(policy, FRESH, Observed(NOON, runs, STANDING))[1]
        assert status.reason == "BackingOff"
        assert status.next_launch_after is not None
        waits.append(status.next_launch_after - (NOON - timedelta(minutes=1)))
    assert waits == [HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 6 * HOUR]


@pytest.mark.parametrize("failed", range(1, 60, 7))
def test_however_many_runs_have_failed_there_is_an_end_to_waiting(failed: int) -> None:
    policy = spec(cooldown="1m", retry={"backoff": "23h", "maximum": "30000d", "jitter": 0})
    runs = [run(RunState.FAILED, timedelta(days=31_000), sequence) for sequence in range(failed)]
    assert reason(policy, alarms=STANDING, runs=runs) == "AlarmStanding"


def test_one_run_at_a_time_unless_the_policy_says_more() -> None:
    runs = [run(RunState.RUNNING, ago=7 * HOUR)]
    assert reason(spec(), alarms=STANDING, runs=runs) == "RunInProgress"
    assert decided(spec(maxConcurrentRuns=2), alarms=STANDING, runs=runs).launch is not None


def test_a_run_that_takes_too_long_is_cancelled() -> None:
    runs = [run(RunState.RUNNING, ago=13 * HOUR)]
    decision = decided(spec(), alarms=STANDING, runs=runs)
    assert (decision.reason, list(decision.cancel)) == ("TimedOut", runs)


def test_a_claim_whose_launch_never_happened_is_taken_up_unless_another_is_about_it() -> None:
    free, busy = run(RunState.CLAIMED, HOUR), run(RunState.CLAIMED, HOUR, free=False)
    assert decided(spec(), alarms=STANDING, runs=[free]).resume == free
    assert reason(spec(), alarms=STANDING, runs=[busy]) == "RunInProgress"
    assert reason(spec(suspend=True), alarms=STANDING, runs=[free]) == "Suspended"


@pytest.mark.parametrize(("start", "end"), [("11:00", "13:30"), ("22:00", "13:30")])
def test_quiet_hours_are_waited_out_also_over_midnight(start: str, end: str) -> None:
    policy = spec(quietHours=[{"start": start, "end": end}])
    decision, status = decide(policy, FRESH, Observed(NOON, alarms=STANDING))
    assert decision.reason == "QuietHours"
    assert status.next_launch_after == NOON + 1.5 * HOUR
    assert decided(policy, now=NOON + 1.5 * HOUR, alarms=STANDING).launch is not None


def test_a_suspended_policy_and_a_dry_run_launch_nothing_and_say_so() -> None:
    assert reason(spec(suspend=True), alarms=STANDING) == "Suspended"
    dry = decided(spec(dryRun=True), alarms=STANDING)
    assert (dry.reason, dry.launch) == ("DryRun", None)


def test_a_request_by_hand_waits_for_no_cool_down_and_is_met_once() -> None:
    runs = [run(RunState.SUCCEEDED, HOUR)]
    decision, status = decide(spec(), FRESH, Observed(NOON, runs, request="please"))
    assert decision.launch is not None
    assert (decision.reason, decision.launch.request) == ("ManualRequest", "please")
    assert reason(spec(), status, request="please") == "AlarmUnknown"
    met = [*runs, run(RunState.FAILED, HOUR / 2, 2, request="please")]
    assert reason(spec(), runs=met, request="please", alarms={"degraded": OK}) == "NothingDue"
    assert decided(spec(), runs=met, request="once more").launch is not None


def test_the_request_that_was_met_is_known_from_later_launches_too_when_the_status_is_lost() -> None:
    first, status = decide(spec(), FRESH, Observed(NOON, request="please"))
    again = decide(spec(), status, Observed(NOON + 7 * HOUR, alarms=STANDING, request="please"))[0]
    assert first.launch is not None
    assert again.launch is not None
    assert again.launch.request == "please"


METRIC = {"metric": {"threshold": {"value": 1.0}, "rearm": 0.8, "datapoints": 2}}


def breaches(before: bool, *values: float, threshold: float | None = 1.0) -> bool:
    status = RetrainingStatus(breaching=before)
    return decide(spec(METRIC), status, Observed(NOON, datapoints=values, threshold=threshold))[1].breaching


def test_a_metric_triggers_by_datapoints_in_a_row_and_rearms_below_its_threshold() -> None:
    assert not breaches(False, 1.1)
    assert not breaches(False, 1.1, 0.9)
    assert breaches(False, 0.5, 1.1, 1.2)
    assert breaches(True, 0.9)
    assert not breaches(True, 0.8)


def test_a_metric_or_threshold_that_is_missing_changes_nothing() -> None:
    assert breaches(True)
    assert breaches(True, 0.1, threshold=None)
    assert not breaches(False, 9.0, 9.0, threshold=None)
    standing = decided(spec(METRIC), RetrainingStatus(breaching=True))
    assert standing.launch is not None
    assert "when it was last seen" in standing.message


def test_a_schedule_counts_from_the_newest_run_that_did_not_fail() -> None:
    policy = spec({"schedule": {"every": "1d"}}, cooldown="1h")
    assert reason(policy) == "NothingDue"
    assert decided(policy, RetrainingStatus(since=NOON - timedelta(days=1))).launch is not None
    good = run(RunState.SUCCEEDED, ago=23 * HOUR)
    assert reason(policy, runs=[good]) == "NothingDue"
    failed = [run(RunState.SUCCEEDED, ago=26 * HOUR), run(RunState.FAILED, 3 * HOUR, 2)]
    assert decided(policy, runs=failed).launch is not None


def test_a_cron_schedule_is_due_from_its_time_on() -> None:
    policy = spec({"schedule": {"cron": "0 11 * * *"}}, cooldown="1m")
    assert reason(policy, runs=[run(RunState.SUCCEEDED, ago=HOUR / 2)]) == "NothingDue"
    assert reason(policy, runs=[run(RunState.SUCCEEDED, ago=2 * HOUR)]) == "ScheduleDue"


def test_enough_new_data_counts_from_the_newest_trained_models() -> None:
    policy = spec({"newData": "6h"}, cooldown="1m")
    assert reason(policy, data_end=NOON, trained_until=NOON - 5 * HOUR) == "NothingDue"
    assert reason(policy, data_end=NOON, trained_until=NOON - 6 * HOUR) == "NewData"
    said = {decided(policy, data_end=NOON, trained_until=NOON - hours * HOUR).message for hours in (6, 7, 8)}
    assert len(said) == 1, "what is told again at each look is noise"
    rejected = [run(RunState.SUCCEEDED, ago=HOUR)]
    assert reason(policy, data_end=NOON, trained_until=NOON - 9 * HOUR, runs=rejected) == "NothingDue"
    assert reason(policy, trained_until=NOON - 9 * HOUR) == "NothingDue"


def test_changed_code_is_noticed_once_and_not_at_first_sight() -> None:
    policy = spec({"changedCode": True}, cooldown="1m")
    first, status = decide(policy, FRESH, Observed(NOON, digest="a"))
    assert first.reason == "NothingDue"
    changed = decided(policy, status, digest="b")
    assert changed.launch is not None
    assert (changed.reason, changed.launch.digest) == ("CodeChanged", "b")
    assert reason(policy, runs=[run(RunState.SUCCEEDED, HOUR, digest="b")], digest="b") == "NothingDue"
    assert reason(policy, runs=[run(RunState.FAILED, 2 * HOUR, digest="b")], status=status, digest="b") == "CodeChanged"


def test_a_model_worse_than_the_baseline_is_tuned_first_where_the_policy_says_so_once_in_its_cool_down() -> None:
    policy = spec(tuning={"whenWorseThanBaseline": True})
    worse: dict[str, Any] = {"alarms": STANDING, "loss": 0.3, "baseline_loss": 0.2}
    first = decided(policy, **worse)
    assert first.launch is not None
    assert (first.reason, first.launch.pipeline) == ("TuningFirst", "tune")
    for state in (RunState.SUCCEEDED, RunState.FAILED):
        tuned = [run(state, HOUR, pipeline="tune", trigger="TuningFirst")]
        then = decided(policy, runs=tuned, **worse)
        assert then.launch is not None
        assert then.launch.pipeline == "build"
    better = decided(policy, **worse | {"loss": 0.1})
    assert better.launch is not None
    assert better.launch.pipeline == "build"


def test_a_clock_that_went_back_delays_a_launch_by_one_cool_down_at_most() -> None:
    ahead = [run(RunState.FAILED, ago=-1000 * HOUR)]
    decision, status = decide(spec(), FRESH, Observed(NOON, ahead, STANDING))
    assert decision.reason == "CoolingDown"
    assert status.next_launch_after == NOON + 6 * HOUR
    assert decided(spec(), status, now=NOON + 6 * HOUR, runs=ahead, alarms=STANDING).launch is not None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"triggers": {}}, "give a trigger"),
        ({"cooldown": "6 hours"}, "write it like 6h"),
        ({"cooldown": "0h"}, "longer than 0"),
        ({"cool_off": "6h"}, "Extra inputs"),
        ({"quietHours": [{"start": "08:00", "end": "08:00"}]}, "must differ"),
        ({"quietHours": [{"start": 1320, "end": "08:00"}]}, "in quotes"),
        ({"quietHours": [{"start": "06:00", "end": "18:00"}, {"start": "18:00", "end": "06:00"}]}, "no minute"),
        ({"triggers": {"schedule": {"cron": "whenever it suits"}}}, "no cron expression"),
        ({"triggers": {"schedule": {"cron": "0 0 * * *", "every": "1d"}}}, "either every or cron"),
        ({"triggers": {"schedule": {"cron": "0 0 0 * * *"}}}, "five fields"),
        ({"triggers": {"schedule": {"cron": "0 0 */28 2 MON#2"}}}, "never comes"),
        ({"triggers": {"metric": {"threshold": {}}}}, "either value or parameter"),
        ({"triggers": {"metric": {"threshold": {"value": float("nan")}}}}, "finite number"),
    ],
)
def test_a_policy_that_can_not_be_meant_is_refused_with_what_to_write(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RetrainingSpec.model_validate({"feed": "fees", "triggers": {"alarms": ["degraded"]}, **fields})
