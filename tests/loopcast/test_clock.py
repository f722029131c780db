"""Event time is scaled to wall time in one place."""

import pytest

from loopcast.clock import DISORDER, Clock, clock_from_environment


def test_a_duration_shrinks_with_the_speed() -> None:
    assert Clock(60).wall(3600) == 60
    assert Clock().wall(3600) == 3600


def test_a_watermark_never_waits_less_than_the_feed_states_nor_than_the_queues_need() -> None:
    assert Clock().lateness(30) == 30
    assert Clock(200).lateness(30) == 200 * DISORDER


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan"])
def test_a_speed_that_is_none_is_refused_in_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPCAST_SPEED", text)
    with pytest.raises(SystemExit, match="LOOPCAST_SPEED must be a number above 0"):
        clock_from_environment()
