"""Which windows have closed: the feed's horizons on a fixed grid of event time; pure functions.

A window begins at a multiple of the horizon since the epoch, so that windows never overlap and every run, whenever it
comes, means the same ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REACH = timedelta(days=1)
"""How far back windows are judged: what the online store holds."""


def closed_windows(first: datetime, end: datetime, horizon: timedelta) -> list[datetime]:
    """The starts, rising, of the windows that begin at `first` or later and end by `end`."""
    started = -(-(first - _EPOCH) // horizon)
    ended = (end - _EPOCH) // horizon
    return [_EPOCH + number * horizon for number in range(started, ended)]


def first_moment(judged_until: datetime | None, serves_since: datetime, end: datetime) -> datetime:
    """From when on windows are to be judged: after what was judged, while the model serves, within `REACH`."""
    return max(judged_until or serves_since, serves_since, end - REACH)


def serves_since(end: datetime, seconds_in_service: float, speed: float, trained_until: datetime | None) -> datetime:
    """The event time at which a model came into service, `seconds_in_service` of wall time ago.

    Event time has gone on at most `speed` times as fast as the wall, and the newest minute ends at `end`; a model that
    was trained on data until `trained_until` can't have served before. Both bounds are early, so that the later holds.
    A service of more than `REACH` is as good as one of `REACH`.
    """
    since = end - timedelta(seconds=min(max(0.0, seconds_in_service) * speed, REACH.total_seconds()))
    return max(since, trained_until) if trained_until else since
