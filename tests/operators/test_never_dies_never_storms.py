"""No sequence of alarms, failures, restarts, repeats and replicas makes the loop die or storm."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from operators.engine import LAUNCH_ATTEMPTS, Engine
from operators.retraining import ALARM, TUNING, RetrainingStatus
from operators.retraining_spec import RetrainingSpec
from operators.runs import RunState
from tests.operators.world import Killed, MemoryClaims, Place, SharedTable, Sight, Time

MINUTE = timedelta(minutes=1)
OVER = [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED, RunState.SKIPPED]
SELDOM = st.sampled_from([False, False, False, True])
LENGTHS = st.sampled_from(["1m", "30m", "6h", "2d"])


@st.composite
def specs(draw: st.DrawFn) -> RetrainingSpec:
    others = {"schedule": {"every": "7d"}, "newData": "5d", "changedCode": True}
    chosen = draw(st.sets(st.sampled_from(sorted(others))))
    quiet = draw(st.sampled_from([[], [{"start": "22:00", "end": "06:00"}]]))
    return RetrainingSpec.model_validate(
        {
            "feed": "fees",
            "triggers": {"alarms": ["a", "b"], **{name: others[name] for name in chosen}},
            "cooldown": draw(LENGTHS),
            "maxConcurrentRuns": draw(st.integers(1, 2)),
            "quietHours": quiet,
            "retry": {"backoff": draw(LENGTHS), "maximum": "2d"},
            "runTimeout": "12h",
        }
    )


class Loop(RuleBasedStateMachine):
    """Two replicas look at one policy whenever they like, while everything happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.table, self.place = Time(), SharedTable(), Place()
        self.sight = Sight(self.time)
        self.claims = [MemoryClaims(self.table, name, self.time) for name in ("one", "two")]
        self.engines = [Engine(claims, self.place, self.sight) for claims in self.claims]
        self.statuses = [RetrainingStatus()]
        self.request = ""

        self.spec = RetrainingSpec(feed="fees", manual_only=True)

    @initialize(spec=specs())
    def begin(self, spec: RetrainingSpec) -> None:
        self.spec = spec
        self.sight.alarms = {"a": ALARM}

    @rule(minutes=st.integers(0, 4000))
    def time_passes(self, minutes: int) -> None:
        self.time.true += minutes * MINUTE

    @rule(minutes=st.integers(1, 100_000))
    def the_clock_goes_back(self, minutes: int) -> None:
        self.time.behind += minutes * MINUTE

    @rule(name=st.sampled_from("ab"), state=st.sampled_from([ALARM, ALARM, "OK", "INSUFFICIENT_DATA", ""]))
    def an_alarm_changes(self, name: str, state: str) -> None:
        self.sight.alarms.pop(name, None)
        if state:
            self.sight.alarms[name] = state

    @rule(replica=st.integers(0, 1), age=st.sampled_from([0, 0, 0, 1, 5, 1000]))
    def a_replica_looks(self, replica: int, age: int) -> None:
        """With the newest status, an old one, or none."""
        before = self.statuses[-1 - age] if age < len(self.statuses) else RetrainingStatus()
        made = len(self.table.made)
        with suppress(Killed, ConnectionError):
            outcome = self.engines[replica].retrain("fees", self.spec, before, self.request)
            stored = RetrainingStatus.model_validate_json(outcome.status.model_dump_json(by_alias=True))
            assert stored.reason
            assert stored.message.endswith(".")
            self.statuses.append(stored)
        if self.spec.suspend or self.spec.dry_run:
            assert len(self.table.made) == made

    @rule(replica=st.integers(0, 1))
    def one_replica_is_overtaken_by_the_other(self, replica: int) -> None:
        self.claims[replica].meanwhile = partial(self.a_replica_looks, 1 - replica, 0)
        self.a_replica_looks(replica, 0)
        self.claims[replica].meanwhile = None

    @rule(state=st.sampled_from(OVER), newest=st.booleans())
    def a_run_ends(self, state: RunState, newest: bool) -> None:
        for name in self.place.running[-1:] if newest else self.place.running[:1]:
            self.place.states[name] = state

    @rule(state=st.sampled_from(OVER), minutes=st.integers(0, 600))
    def an_ordinary_round(self, state: RunState, minutes: int) -> None:
        """A look that may launch, a run that ends, and a look at that."""
        self.a_replica_looks(0, 0)
        self.time_passes(minutes)
        self.a_run_ends(state, newest=True)
        self.a_replica_looks(1, 0)

    @rule(fault=st.sampled_from(["", "", "", "refused", "unreachable", "killed-before", "killed-after"]))
    def launches_meet(self, fault: str) -> None:
        self.place.fault = fault

    @rule(blind=SELDOM, down=SELDOM)
    def the_network_changes(self, blind: bool, down: bool) -> None:
        self.place.blind, self.table.down = blind, down

    @rule(request=st.sampled_from(["", "x", "y", "z"]))
    def somebody_asks(self, request: str) -> None:
        self.request = request

    @rule(code=st.sampled_from(["one", "two"]))
    def the_pipeline_changes(self, code: str) -> None:
        self.place.code = code

    @rule(suspend=SELDOM, dry_run=SELDOM)
    def the_policy_changes(self, suspend: bool, dry_run: bool) -> None:
        self.spec = self.spec.model_copy(update={"suspend": suspend, "dry_run": dry_run})

    @invariant()
    def nothing_is_launched_twice(self) -> None:
        assert len(self.place.started) == len(set(self.place.started))
        assert set(self.place.started) <= {run.id for _, run, _ in self.table.made}

    @invariant()
    def never_more_than_one_launch_in_a_cool_down_unless_asked_for(self) -> None:
        made = [(run, moment) for _, run, moment in self.table.made if run.trigger != TUNING]
        for (_, before), (run, moment) in pairwise(made):
            assert run.trigger == "ManualRequest" or moment - before >= self.spec.cooldown

    @invariant()
    def never_more_runs_at_once_than_allowed(self) -> None:
        assert len(self.place.running) <= self.spec.max_concurrent_runs

    @invariant()
    def a_request_is_met_once(self) -> None:
        met = [run.request for _, run, _ in self.table.made if run.trigger == "ManualRequest"]
        assert all(before != after for before, after in pairwise(met))

    def teardown(self) -> None:
        """However it came to this: once things work again and an alarm stands, there are launches again, for ever."""
        self.spec = self.spec.model_copy(update={"suspend": False, "dry_run": False})
        self.place.fault, self.place.blind, self.table.down = "", False, False
        self.sight.alarms, self.request = {"b": ALARM}, ""
        for _ in range(2):
            self._launches_again()

    def _launches_again(self) -> None:
        started, limit = len(self.place.started), self.time.true + timedelta(days=6)
        while len(self.place.started) == started:
            assert self.time.true < limit, self.statuses[-1]
            self.time.true += 60 * MINUTE
            self.a_replica_looks(0, 0)
            for name in self.place.running[:-1] if len(self.place.started) > started else self.place.running:
                self.place.states[name] = RunState.FAILED


Loop.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLoop = Loop.TestCase


def test_a_request_that_lost_the_race_for_its_claim_is_met_later() -> None:
    time, table, place = Time(), SharedTable(), Place()
    sight = Sight(time, alarms={"a": ALARM})
    claims = [MemoryClaims(table, name, time) for name in ("one", "two")]
    one, two = (Engine(each, place, sight) for each in claims)
    policy = RetrainingSpec.model_validate({"feed": "fees", "triggers": {"alarms": ["a"]}})
    claims[0].meanwhile = partial(two.retrain, "fees", policy, RetrainingStatus())
    lost = one.retrain("fees", policy, RetrainingStatus(), "please")
    assert lost.decision.reason == "ClaimedElsewhere"
    for name in place.running:
        place.states[name] = RunState.SUCCEEDED
    assert one.retrain("fees", policy, lost.status, "please").decision.reason == "ManualRequest"


def test_a_place_out_of_reach_delays_a_launch_and_then_fails_it() -> None:
    time, place = Time(), Place(fault="unreachable")
    engine = Engine(MemoryClaims(SharedTable(), "one", time), place, Sight(time, alarms={"a": ALARM}))
    policy = RetrainingSpec.model_validate({"feed": "fees", "triggers": {"alarms": ["a"]}})
    reasons = [engine.retrain("fees", policy, RetrainingStatus()).decision.reason for _ in range(LAUNCH_ATTEMPTS)]
    assert reasons == ["LaunchDelayed"] * (LAUNCH_ATTEMPTS - 1) + ["LaunchFailed"]
    assert engine.retrain("fees", policy, RetrainingStatus()).decision.reason == "CoolingDown"
