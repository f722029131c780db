"""Drives the replayed source's clock; with SOURCE=live there is nothing to drive, and the clock is the wall's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

_TIMEOUT = 10
_RETRY = Retry(total=8, backoff_factor=0.2, backoff_jitter=0.2, backoff_max=5, allowed_methods=None)
"""Each request says what is to be, not what is to change, so that it can be sent again; a source may be starting."""


class Source(Protocol):
    """What a driver can ask of a source."""

    def now(self) -> datetime:
        """The event time up to which events have arrived."""

    def began(self) -> datetime:
        """The event time at which events began."""

    def set_speed(self, speed: float) -> None: ...

    def hold(self) -> None:
        """Lets no further event arrive."""

    def all_listed(self) -> bool:
        """Whether each event that arrived has been in an answer, or never will be."""


class ReplayedSource:
    """The source at `url`: simulated or a recording."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/control"
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(max_retries=_RETRY))

    def state(self) -> dict[str, Any]:
        answer = self._session.get(self._url, timeout=_TIMEOUT)
        answer.raise_for_status()
        return dict(answer.json())

    def now(self) -> datetime:
        return datetime.fromisoformat(self.state()["event_time"])

    def began(self) -> datetime:
        return datetime.fromisoformat(self.state()["start"])

    def set_speed(self, speed: float) -> None:
        self._post({"speed": speed})

    def hold(self) -> None:
        self._post({"until": self.now().isoformat()})

    def all_listed(self) -> bool:
        state = self.state()
        return bool(state["listed"] + state["unlisted"] >= state["arrived"])

    def release(self) -> None:
        """Ends a hold."""
        self._post({"until": None})

    def change_regime(self, *, fees: float, volume: float) -> None:
        """From now on multiplies every fee and the number of arrivals."""
        self._post({"regime": {"fees": fees, "volume": volume}})

    def _post(self, change: dict[str, Any]) -> None:
        self._session.post(self._url, json=change, timeout=_TIMEOUT).raise_for_status()


class LiveSource:
    """The feed's own URL."""

    def __init__(self) -> None:
        self._began = self.now()

    def began(self) -> datetime:
        return self._began

    def now(self) -> datetime:
        return datetime.now(UTC)

    def set_speed(self, speed: float) -> None:
        """The world goes on at its own speed."""

    def hold(self) -> None:
        """The world doesn't stop."""

    def all_listed(self) -> bool:
        return True
