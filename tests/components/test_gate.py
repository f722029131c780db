"""A model must earn its place: against the baselines, the champion and the ceiling."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.algorithms import CANDIDATES, EMPIRICAL
from components.gate.gate import PENDING, REJECTED, SIGNIFICANCE, ceiling, decide, significance
from components.paired import compare
from components.run import Refused
from loopcast import aws
from loopcast.feed import Feed, parse_feed
from loopcast.names import Names

WINDOWS = 8
loss = st.integers(1, 384).map(lambda number: number / 128)  # means of such numbers are exact
window_losses = st.lists(loss, min_size=WINDOWS, max_size=WINDOWS)
baselines = st.dictionaries(st.sampled_from(["persistence", "empirical_1h", "empirical_6h"]), loss, min_size=1)


def evaluation(failed: dict[str, str] | None = None, **losses: float | list[float] | None) -> dict[str, Any]:
    """An evaluation of models with the given loss in each of the windows, or with the given window losses."""
    windows = {name: value if isinstance(value, list) else [value] * WINDOWS for name, value in losses.items()}
    scores = {
        name: {"loss": None if None in values else sum(values) / WINDOWS, "window_losses": values}
        for name, values in windows.items()
    }
    champion = next((stage for stage in ("production", "staging") if stage in scores), None)
    known = [name for name in scores if name not in (*CANDIDATES, champion) and scores[name]["loss"] is not None]
    origins = [index * 30 for index in range(WINDOWS)]
    return {
        "failed": failed or {},
        "scores": scores,
        "best_baseline": min(known, key=lambda name: (scores[name]["loss"], name), default=None),
        "champion": champion,
        "against_champion": {
            name: compare(windows[name], windows[champion], origins, 30).to_json()
            for name in scores
            if champion and name in (*CANDIDATES, EMPIRICAL)
        },
    }


def verdict(
    failed: dict[str, str] | None = None,
    ceiling: float | None = None,
    level: float = SIGNIFICANCE,
    **losses: float | list[float] | None,
) -> dict[str, Any]:
    return decide(evaluation(failed, **losses), ceiling, level)


def waiting(found: dict[str, Any]) -> list[str]:
    return [entry["role"] for entry in found["register"] if entry["status"] == PENDING]


def reasons(found: dict[str, Any], role: str) -> list[str]:
    entries = [*found["candidates"], *found["register"]]
    return next(entry["reasons"] for entry in entries if entry["role"] == role)


@given(loss, baselines, st.none() | loss, st.none() | loss)
def test_a_candidate_passes_exactly_when_it_is_below_every_limit(one, others, production, limit) -> None:
    limits = [min(others.values()), *(value for value in (production, limit) if value is not None)]
    champion = {} if production is None else {"production": production}
    found = verdict(ceiling=limit, deepar=one, **others, **champion)
    assert found["passed"] == all(one < value for value in limits)


@given(st.dictionaries(st.sampled_from(CANDIDATES), loss, min_size=1), loss, baselines, st.none() | loss, st.randoms())
def test_the_best_of_the_candidates_is_chosen_in_whatever_order_they_come(found, empirical, others, champion, random):
    losses = {**found, "empirical": empirical, **others, **({"staging": champion} if champion else {})}
    decided = decide(evaluation(**losses), None, 0.5)
    best = min(found, key=lambda name: (found[name], name))
    shuffled = list(losses.items())
    random.shuffle(shuffled)
    again = decide(evaluation(**dict(shuffled)), None, 0.5)
    assert decided["register"][0]["role"] == best
    assert again["register"] == decided["register"]
    assert {entry["role"]: entry for entry in again["candidates"]} == {
        entry["role"]: entry for entry in decided["candidates"]
    }
    assert {entry["role"] for entry in decided["candidates"]} == set(found)


@given(loss, loss, loss, baselines)
def test_exactly_one_model_waits_for_approval_where_there_is_no_champion(boosted, deepar, empirical, others) -> None:
    assert len(waiting(verdict(boosted=boosted, deepar=deepar, empirical=empirical, **others))) == 1


@given(window_losses, st.floats(0.0001, 0.0005), st.sampled_from(["deepar", "empirical"]))
def test_a_challenger_that_is_better_in_every_window_replaces_the_champion(losses, gain, role) -> None:
    better = [value - gain for value in losses]
    assert waiting(verdict(production=losses, **{role: better})) == [role]


@given(window_losses, st.floats(0.01, 1))
def test_an_identical_challenger_never_replaces_the_champion(losses, level) -> None:
    found = verdict(level=level, production=losses, deepar=losses, empirical=losses)
    assert waiting(found) == []


@given(window_losses, window_losses, st.floats(0.01, 0.5), st.floats(0.5, 1))
def test_a_stricter_level_never_lets_through_what_a_laxer_one_stops(challenger, champion, strict, lax) -> None:
    if waiting(verdict(level=strict, production=champion, deepar=challenger)):
        assert waiting(verdict(level=lax, production=champion, deepar=challenger))


def test_a_challenger_that_may_be_better_by_chance_leaves_the_champion_in_place() -> None:
    champion = [0.3] * WINDOWS
    challenger = [0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.4]
    found = verdict(level=0.1, production=champion, boosted=challenger)
    assert waiting(found) == []
    (reason,) = reasons(found, "boosted")
    assert reason.startswith("Its loss of 0.25 is below the 0.3 of the model in production, but that may be chance")
    assert "over 8 windows" in reason
    assert "at most 0.1 counts" in reason
    assert found["register"][0]["against_champion"]["difference"] == pytest.approx(0.05)


def test_the_model_in_staging_is_the_champion_where_nothing_is_in_production() -> None:
    found = verdict(staging=0.1, deepar=0.2)
    assert reasons(found, "deepar") == ["Its loss of 0.2 is not below the 0.1 of the model in staging."]


def test_a_candidate_that_passes_is_registered_alone_and_the_others_say_why_not() -> None:
    found = verdict(boosted=0.1, deepar=0.15, statistical=0.4, empirical=0.2)
    assert [(entry["role"], entry["status"]) for entry in found["register"]] == [("boosted", PENDING)]
    assert reasons(found, "deepar") == ["Its loss of 0.15 is not below that of gradient boosting."]
    assert "best baseline's, empirical baseline, packaged with 0.2" in reasons(found, "statistical")[0]


def test_the_best_of_rejected_candidates_is_registered_with_its_reasons_and_the_baseline_in_its_place() -> None:
    found = verdict(boosted=0.4, deepar=0.3, empirical=0.2, persistence=0.5)
    candidate, baseline = found["register"]
    assert (candidate["role"], candidate["status"]) == ("deepar", REJECTED)
    assert candidate["reasons"] == [
        "Its loss of 0.3 is not below the best baseline's, empirical baseline, packaged with 0.2."
    ]
    assert (baseline["role"], baseline["status"]) == ("empirical", PENDING)


def test_nothing_waits_for_approval_where_the_champion_is_better_than_all() -> None:
    found = verdict(deepar=0.3, empirical=0.2, production=0.1)
    assert waiting(found) == []
    assert "model in production" in reasons(found, "empirical")[0]


def test_a_candidate_that_failed_is_rejected_with_its_reason_and_does_not_hold_up_the_others() -> None:
    found = verdict({"boosted": "It ran out of memory."}, deepar=0.1, empirical=0.2)
    assert waiting(found) == ["deepar"]
    assert reasons(found, "boosted") == ["It could not be judged: It ran out of memory."]


def test_the_baseline_stands_in_where_every_candidate_failed() -> None:
    found = verdict({"deepar": "It broke."}, empirical=0.2)
    assert [entry["role"] for entry in found["register"]] == ["empirical"]
    assert waiting(found) == ["empirical"]


def test_the_ceiling_holds_for_the_baseline_too() -> None:
    assert "ceiling of 0.15" in reasons(verdict(ceiling=0.15, deepar=0.3, empirical=0.2), "empirical")[0]


def test_a_loss_that_is_no_number_never_passes() -> None:
    assert not verdict(deepar=None, persistence=0.2)["passed"]
    assert not verdict(deepar=None)["passed"]


@pytest.fixture
def limited_feed() -> Feed:
    text = Path("feeds/bitcoin-fees.yaml").read_text()
    return parse_feed(text.replace("thresholds: {}", "thresholds: {max_loss: 0.4}"))


@pytest.mark.usefixtures("aws")
def test_the_ceiling_in_ssm_goes_before_the_feeds(limited_feed: Feed) -> None:
    names = Names("ceiling", "000000000000")
    assert ceiling(limited_feed, names) == 0.4
    put(names, "0.25", "thresholds", "max_loss")
    assert ceiling(limited_feed, names) == 0.25


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("text", ["low", "nan"])
def test_a_ceiling_that_is_no_number_is_refused(limited_feed: Feed, text: str) -> None:
    names = Names("no-ceiling", "000000000000")
    put(names, text, "thresholds", "max_loss")
    with pytest.raises(Refused, match=f"/loopcast/no-ceiling/thresholds/max_loss must be a number, not '{text}'"):
        ceiling(limited_feed, names)


@pytest.mark.usefixtures("aws")
def test_the_level_of_significance_is_ssms_and_one_that_cant_be_is_refused() -> None:
    names = Names("level", "000000000000")
    assert significance(names) == SIGNIFICANCE
    put(names, "0.2", "promotion", "significance")
    assert significance(names) == 0.2
    put(names, "0", "promotion", "significance")
    with pytest.raises(Refused, match="must be above 0 and at most 1, not 0"):
        significance(names)


def put(names: Names, value: str, *path: str) -> None:
    aws.client("ssm").put_parameter(Name=names.parameter(*path), Value=value, Type="String", Overwrite=True)
