"""A source with a clock of its own, and a real server in front of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.source.arrivals import Arrivals
from local.source.calibration import Calibration, load_calibration
from local.source.generators import Generator, Simulated
from local.source.ledger import Ledger, read
from local.source.listing import Listing
from local.source.regime import Timeline
from local.source.server import SourceServer

START = 1_700_000_040
SEED = 3


class FakeTime:
    """Wall time that moves when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return load_calibration()


@pytest.fixture(scope="session")
def simulated(calibration: Calibration) -> Generator:
    return Simulated(calibration, START, SEED)


class Source:
    """A listing and what it is made of; `reopen` is what a restart after a crash does."""

    def __init__(self, generator: Generator, ledger: Path, speed: float, page_size: int = 100) -> None:
        self.wall, self.path = FakeTime(), ledger
        self._generator, self._page_size = generator, page_size
        self.listing = self._open(speed)

    def _open(self, speed: float) -> Listing:
        self._ledger = Ledger(self.path)
        timeline = Timeline(self._ledger.regimes())
        arrivals = Arrivals(self._generator, START, SEED, timeline)
        return Listing(arrivals, self._ledger, timeline, page_size=self._page_size, speed=speed, monotonic=self.wall)

    def reopen(self, speed: float) -> None:
        self._ledger.close()
        self.listing = self._open(speed)

    def answer(self, whole: bool = True) -> list[str]:
        """The hashes of one answer, newest first, that was sent whole or not."""
        page = self.listing.page()
        if whole:
            self.listing.sent_whole(page)
        return [arrival.hash for arrival in reversed(page.arrivals)]

    def ledger(self) -> list[str]:
        return list(read(self.path)["hash"].to_pylist())


@pytest.fixture
def source(simulated: Generator, tmp_path: Path) -> Callable[..., Source]:
    def make(speed: float = 1.0, page_size: int = 100, name: str = "ledger.db") -> Source:
        return Source(simulated, tmp_path / name, speed, page_size)

    return make


class Client:
    """Asks one server over one kept connection."""

    def __init__(self, server: SourceServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.session = requests.Session()

    def get(self, path: str = "/unconfirmed-transactions?format=json") -> requests.Response:
        return self.session.get(self.url + path, timeout=10)

    def transactions(self) -> list[dict[str, Any]]:
        return list(self.get().json()["txs"])

    def control(self, **change: Any) -> dict[str, Any]:
        answer = self.session.post(f"{self.url}/control", data=json.dumps(change), timeout=10)
        answer.raise_for_status()
        return dict(answer.json())


@pytest.fixture
def served(source: Callable[..., Source]) -> Iterator[tuple[Client, Source]]:
    """A source at 60 times the speed, two minutes after its start, and a client of its server."""
    behind = source(speed=1.0)
    behind.wall.pass_by(120)
    server = SourceServer(0, behind.listing, {"mode": "simulated"})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    client = Client(server)
    yield client, behind
    client.session.close()
    server.shutdown()
    server.server_close()
    thread.join()
    behind.listing.close()
