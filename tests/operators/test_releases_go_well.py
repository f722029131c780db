"""No sequence of versions, alarms, failures and restarts puts a wrong version into service, or keeps a good one out."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from operators.engine import Engine
from operators.release import Package, ReleaseStatus, Served
from operators.release_spec import ReleaseSpec
from operators.retraining import ALARM, OK
from operators.runs import RunState
from tests.operators.world import Killed, MemoryClaims, Place, SharedTable, Sight, Time

MINUTE = timedelta(minutes=1)
STAGES = ("staging", "production")


class Releases(RuleBasedStateMachine):
    """Deployments that end well change what a stage serves; two replicas look at one policy."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.table, self.place = Time(), SharedTable(), Place()
        self.sight = Sight(self.time, stages=dict.fromkeys(STAGES, Served()))
        self.sight.alarms = {f"loopcast-fees-{stage}-degraded": OK for stage in STAGES}
        self.engines = [Engine(MemoryClaims(self.table, name, self.time), self.place, self.sight) for name in "ab"]
        self.statuses = [ReleaseStatus()]
        self.spec = ReleaseSpec(feed="fees")
        self.history: dict[str, list[int]] = {stage: [] for stage in STAGES}
        self.served_since = dict.fromkeys(STAGES, timedelta(0))
        self.rolled_back: set[int] = set()
        self.judged: set[str] = set()

    @initialize(automatic=st.booleans())
    def begin(self, automatic: bool) -> None:
        production = {"automatic": {"minTimeInStaging": "12h"}} if automatic else {}
        self.spec = ReleaseSpec.model_validate({"feed": "fees", "production": production})

    @rule(minutes=st.integers(0, 2000))
    def time_passes(self, minutes: int) -> None:
        self.time.true += minutes * MINUTE

    @rule(approved=st.booleans())
    def a_version_is_registered(self, approved: bool) -> None:
        version = len(self.sight.packages) + 1
        self.sight.packages.append(Package(version, f"arn:{version}", approved))

    @rule(version=st.integers(1, 6))
    def git_approves(self, version: int) -> None:
        if self.spec.production.automatic is None and self.spec.production.approved_version != version:
            production = self.spec.production.model_copy(update={"approved_version": version})
            self.spec = self.spec.model_copy(update={"production": production})
            self.rolled_back.clear()
            self.a_replica_looks(0, 0)

    @rule(stage=st.sampled_from(STAGES), state=st.sampled_from([ALARM, OK, OK]))
    def an_alarm_changes(self, stage: str, state: str) -> None:
        self.sight.alarms[f"loopcast-fees-{stage}-degraded"] = state

    @rule(ratio=st.sampled_from([None, 0.5, 1.5]))
    def the_loss_changes(self, ratio: float | None) -> None:
        self.sight.loss_ratio = ratio

    @rule(replica=st.integers(0, 1), age=st.sampled_from([0, 0, 0, 1]))
    def a_replica_looks(self, replica: int, age: int) -> None:
        before = self.statuses[-1 - age] if age < len(self.statuses) else ReleaseStatus()
        with suppress(Killed):
            outcome = self.engines[replica].release("fees", self.spec, before)
            assert outcome.decision.message.endswith(".")
            self.statuses.append(ReleaseStatus.model_validate_json(outcome.status.model_dump_json(by_alias=True)))
        self._judge()

    @rule(well=st.sampled_from([True, True, True, False]))
    def a_run_ends(self, well: bool) -> None:
        for name in self.place.running:
            self.place.states[name] = RunState.SUCCEEDED if well else RunState.FAILED
            if well:
                self._serve(name)

    @rule()
    def a_run_breaks_off_when_the_endpoint_already_serves(self) -> None:
        for name in self.place.running:
            self.place.states[name] = RunState.CANCELED
            self._serve(name)

    @rule(minutes=st.integers(0, 400))
    def a_release_goes_badly(self, minutes: int) -> None:
        """A version comes into staging, is quiet for a while, and then its alarm fires, and ends."""
        self.a_version_is_registered(approved=True)
        for state in (OK, OK, ALARM, ALARM, OK, OK):
            self.an_alarm_changes("staging", state)
            self.a_replica_looks(0, 0)
            self.a_run_ends(well=True)
            self.time_passes(minutes // 4)

    @rule(fault=st.sampled_from(["", "", "killed-before", "killed-after", "unreachable"]))
    def launches_meet(self, fault: str) -> None:
        self.place.fault = fault

    @invariant()
    def one_release_at_a_time_and_none_twice(self) -> None:
        assert len(self.place.running) <= 1
        assert len(self.place.started) == len(set(self.place.started))

    def _judge(self) -> None:
        """What was launched just now was right when it was."""
        for name in set(self.place.running) - self.judged:
            self.judged.add(name)
            run = self.place.launched[name]
            stage, version = run.tags["stage"], int(run.tags["version"])
            if run.trigger == "RollBack":
                assert self.history[stage][-1] == version
                assert len(self.history[stage]) > 1
                self.rolled_back.add(version)
                continue
            assert version not in self.rolled_back
            assert self.sight.packages[version - 1].approved
            if stage == "production":
                assert self.history["staging"][-1] == version
                assert self.time.true - self.served_since["staging"] >= self.spec.staging.bake_time

    def _serve(self, name: str) -> None:
        run = self.place.launched[name]
        stage = run.tags["stage"]
        if run.trigger == "RollBack":
            self.history[stage].pop()
        elif self.history[stage][-1:] != [int(run.tags["version"])]:
            self.history[stage].append(int(run.tags["version"]))
        self.served_since[stage] = self.time.true
        newest = self.history[stage][-1]
        self.sight.stages[stage] = Served("InService", newest, has_previous=len(self.history[stage]) > 1)

    def teardown(self) -> None:
        """However it came to this: a new approved version comes into service everywhere once all is well."""
        self.place.fault, self.sight.loss_ratio = "", 0.5
        self.sight.alarms = dict.fromkeys(self.sight.alarms, OK)
        self.a_version_is_registered(approved=True)
        version = len(self.sight.packages)
        if self.spec.production.automatic is None:
            production = self.spec.production.model_copy(update={"approved_version": version})
            self.spec = self.spec.model_copy(update={"production": production})
        for _ in range(120):
            self.time.true += 60 * MINUTE
            self.a_replica_looks(0, 0)
            self.a_run_ends(well=True)
        assert [self.history[stage][-1] for stage in STAGES] == [version, version], self.statuses[-1]


Releases.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReleases = Releases.TestCase
