"""A model can first run in the shadow of what a stage serves, and goes no further when it forecasts worse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from components.deploy_endpoint.deploy_endpoint import package_model
from components.deploy_endpoint.endpoint import Waiting
from components.history import History
from components.paired import Comparison
from components.run import Refused
from components.shadow_endpoint.judge import answers, closed, judge, objection
from components.shadow_endpoint.shadow_endpoint import shadow
from loopcast import aws as clients
from loopcast.clock import Clock
from loopcast.feed import parse_feed
from tests.components.examples import FEED_TEXT
from tests.components.stack import minute, put
from tests.components.stages import Stages, stages

FEED = parse_feed(FEED_TEXT.replace("name: parcels", "name: parcels-shadows").replace("horizon: 10m", "horizon: 3m"))
QUANTILES = (0.1, 0.5, 0.9)
START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
LEVEL = 100.0


@pytest.fixture(scope="module")
def local(aws: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    with stages(FEED, aws, tmp_path_factory) as made:
        yield made


class Minutes:
    """A clock whose every long sleep lets the next minute come, in which the target is LEVEL."""

    def __init__(self, local: Stages) -> None:
        self.local, self.index, self.slept = local, 30, 0.0

    def now(self) -> float:
        return time.time() + self.slept

    def sleep(self, seconds: float) -> None:
        if seconds < 1:  # a look at the endpoint, whose programs start in real time
            time.sleep(seconds)
            return
        put(self.local.names, [minute(FEED, self.index, LEVEL)])
        self.index += 1
        self.slept += seconds

    @property
    def waiting(self) -> Waiting:
        return Waiting(0.1, 60, Clock(now=self.now, sleep=self.sleep))


@pytest.fixture(scope="module")
def all_minutes(local: Stages) -> Minutes:
    return Minutes(local)


@pytest.fixture
def minutes(all_minutes: Minutes) -> Minutes:
    all_minutes.slept = 0.0  # SageMaker's time has not been slept through
    return all_minutes


def level(value: float) -> dict[str, str]:
    return {"LEVEL": str(value)}


def test_a_shadow_that_is_better_passes_and_the_stage_is_as_before(local: Stages, minutes: Minutes) -> None:
    old, new = local.package(0.2, **level(130)), local.package(0.2, **level(LEVEL))
    local.deploy("better", old, "b1")
    before = local.endpoint("better")
    model = package_model(local.names, new)
    said = shadow(local.run("b2"), "better", model, "ml.m5.large", 8 * 60, minutes.waiting)
    assert "no worse than the champion in 2 windows" in said
    after = local.endpoint("better")
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert "ShadowProductionVariants" not in after
    changed = after["LastModifiedTime"]
    assert shadow(local.run("b2"), "better", model, "ml.m5.large", 8 * 60, minutes.waiting) == said
    assert local.endpoint("better")["LastModifiedTime"] == changed


def test_a_shadow_that_is_worse_is_stopped_with_the_reason_and_refused_from_then_on(
    local: Stages, minutes: Minutes
) -> None:
    old, new = local.package(0.2, **level(LEVEL)), local.package(0.2, **level(130))
    local.deploy("worse", old, "w1")
    model = package_model(local.names, new)
    with pytest.raises(Refused, match=r"Its loss is 0\.\d+ higher than the champion's in the mean of 2 windows"):
        shadow(local.run("w2"), "worse", model, "ml.m5.large", 8 * 60, minutes.waiting)
    assert local.serves("worse") == old["ModelPackageArn"]
    described = local.described(new["ModelPackageArn"])
    assert described["ModelApprovalStatus"] == "Rejected"
    assert described["ApprovalDescription"].startswith("stopped in the shadow of worse: Its loss is 0.")


def test_there_is_no_shadow_of_nothing_and_none_too_short_for_a_window(local: Stages, minutes: Minutes) -> None:
    model = package_model(local.names, local.package(0.2))
    waiting = minutes.waiting
    assert "nothing to compare" in shadow(local.run("n1"), "none", model, "ml.m5.large", 3600, waiting)
    with pytest.raises(Refused, match="must be from 240, so that a window closes"):
        shadow(local.run("n2"), "none", model, "ml.m5.large", 200, waiting)
    assert not clients.client("sagemaker").list_endpoints(NameContains="none")["Endpoints"]


def line(start: datetime, minutes: int, values: list[float], quantiles: tuple[float, ...] = QUANTILES) -> str:
    asked = {"instances": [{"start": f"{start:%Y-%m-%d %H:%M:%S}", "target": [1.0] * minutes}]}
    answered = {"predictions": [{"quantiles": {f"{level:g}": values for level in quantiles}}]}
    data = {"endpointInput": {"data": json.dumps(asked)}, "endpointOutput": {"data": json.dumps(answered)}}
    return json.dumps({"captureData": data, "eventMetadata": {"eventId": "x"}, "eventVersion": "0"})


def test_captured_forecasts_are_known_by_the_first_minute_that_they_are_of() -> None:
    (origin,) = answers([line(START, 5, [1.0, 2.0])], 2, QUANTILES)
    assert origin == START + timedelta(minutes=5)


@pytest.mark.parametrize(
    "other",
    [
        line(START, 5, [1.0]),
        line(START, 5, [1.0, float("nan")]),
        line(START, 5, [1.0, 2.0], (0.5,)),
        json.dumps({"captureData": {"endpointOutput": {"data": "1.5"}}}),
        json.dumps({"captureData": {"endpointInput": {"data": "x"}, "endpointOutput": {"data": "y"}}}),
    ],
)
def test_what_is_no_forecast_of_the_feed_is_left_out(other: str) -> None:
    assert answers([other], 2, QUANTILES) == {}


def test_only_windows_that_both_forecast_and_that_have_come_count_once() -> None:
    history = History(START, np.full(40, 100.0))
    moments = [START + timedelta(minutes=number) for number in range(45)]
    worse = {moment: dict.fromkeys(QUANTILES, np.full(10, 120.0)) for moment in moments}
    good = {moment: dict.fromkeys(QUANTILES, np.full(10, 100.0)) for moment in moments[5:]}
    assert closed(moments, history, 10)[-1] == START + timedelta(minutes=30)
    found = judge(worse, good, history, 10)
    assert found.windows == 3
    assert found.difference is not None
    assert found.difference > 0
    assert objection(found)
    assert not objection(judge(good, worse, history, 10))


def test_luck_stops_no_shadow_but_silence_does() -> None:
    assert not objection(Comparison(0.1, 0.5, 1))
    assert "let it run longer" in objection(Comparison(None, 1.0, 0))
