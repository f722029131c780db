from __future__ import annotations

import pytest

from applier.engine import ApplyError, Waiter


class Time:
    """A clock that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_wait_says_what_it_waits_for_and_ends_with_what_to_do() -> None:
    time, said = Time(), []
    waiter = Waiter(said.append, time.sleep, time.now)

    with pytest.raises(ApplyError, match="Stream s: not ready after 60 s: look at it in AWS, then run this again"):
        for _ in waiter.ticks("Stream s: not ready", 60):
            pass

    assert len(said) == 5
    assert said[0].startswith("... Stream s: not ready (1")
    assert 60 < time.seconds < 63


def test_nothing_is_waited_for_that_is_there() -> None:
    time, said = Time(), []

    for _ in Waiter(said.append, time.sleep, time.now).ticks("Stream s: not ready", 60):
        break

    assert (time.seconds, said) == (0, [])
