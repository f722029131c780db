"""Answers as blockchain.com's unconfirmed-transactions API does, at any speed, and keeps a ledger of what it listed."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pythonjsonlogger.json import JsonFormatter

from local.source import calibration
from local.source.arrivals import Arrivals
from local.source.calibration import load_calibration
from local.source.clock import MICROSECONDS
from local.source.generators import Generator, RecordedLevels, RecordedTransactions, Simulated
from local.source.ledger import BadLedger, Ledger
from local.source.listing import Listing
from local.source.recordings import BadRecording, Levels, read_recording
from local.source.regime import Regime, Timeline, parse_duration, parse_regime
from local.source.server import SourceServer
from loopcast.feed import FeedError, load_feed

log = logging.getLogger("local.source")
T = TypeVar("T")

_BEFORE_NOW = 6 * 3600 + 1800
"""How long before now event time begins unless stated: a demo's hours at a speed-up then stay in the past."""


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    if (arguments.mode == "recording") != (arguments.recording is not None):
        parser.error("--mode recording and --recording FILE go together")
    if (arguments.regime_at is None) != (arguments.regime is None):
        parser.error("--regime-at and --regime go together")
    _log_as_json()
    try:
        server = _server(arguments)
    except (BadRecording, BadLedger, FeedError, _Refused) as error:
        sys.exit(str(error))
    _serve(server)


class _Refused(ValueError):
    """Settings that can't be used; the message says why."""


def _server(arguments: argparse.Namespace) -> SourceServer:
    ledger = Ledger(arguments.ledger)
    identity = _identity(arguments, ledger)
    ledger.begin(identity)
    start, seed = int(identity["start"]), int(identity["seed"])
    generator = _generator(arguments, start, seed)
    timeline = Timeline([*_planned(arguments, start), *ledger.regimes()])
    arrivals = Arrivals(generator, start, seed, timeline)
    listing = Listing(arrivals, ledger, timeline, page_size=_page_size(arguments), speed=arguments.speed)
    about = {"mode": arguments.mode, "seed": seed, "start": _iso(start), **_shift(generator, start)}
    try:
        return SourceServer(arguments.port, listing, about, arguments.host)
    except OSError as error:
        raise _Refused(
            f"local.source can't listen on {arguments.host}:{arguments.port} ({error.strerror}): "
            "stop what uses that port, or choose another with --port"
        ) from error


def _identity(arguments: argparse.Namespace, ledger: Ledger) -> dict[str, Any]:
    """What makes the arrivals what they are; a ledger's own start and seed hold where none is given."""
    known = ledger.identity()
    default_start = int(known["start"]) if known else int(time.time() - _BEFORE_NOW) // 60 * 60
    start = default_start if arguments.start is None else arguments.start
    if start > time.time():
        raise _Refused(f"--start {_iso(start)} lies ahead of this machine's clock: give a moment in the past")
    return {
        "mode": arguments.mode,
        "start": start,
        "seed": int(known.get("seed", 0)) if arguments.seed is None else arguments.seed,
        "regime_at": arguments.regime_at,
        "regime": arguments.regime and arguments.regime.model_dump(),
        "recording": arguments.recording and _digest(arguments.recording),
        "calibration": _digest(calibration.FILE),
    }


def _generator(arguments: argparse.Namespace, start: int, seed: int) -> Generator:
    statistics = load_calibration()
    if arguments.recording is None:
        return Simulated(statistics, start, seed)
    recorded = read_recording(arguments.recording)
    if isinstance(recorded, Levels):
        return RecordedLevels(recorded, statistics, start, seed)
    return RecordedTransactions(recorded, statistics, start, seed)


def _planned(arguments: argparse.Namespace, start: int) -> list[tuple[int, Regime]]:
    if arguments.regime is None:
        return []
    return [((start + arguments.regime_at) * MICROSECONDS, arguments.regime)]


def _shift(generator: Generator, start: int) -> dict[str, Any]:
    """How event time lies to a recording's."""
    if not isinstance(generator, RecordedLevels):
        return {}
    recorded = generator.recorded_time(0)
    return {"recorded_start": _iso(recorded), "shift_seconds": start - recorded}


def _page_size(arguments: argparse.Namespace) -> int:
    feed = os.environ.get("LOOPCAST_FEED") or "feeds/bitcoin-fees.yaml"
    size: int = arguments.page_size or load_feed(feed).source.page_size
    return size


def _serve(server: SourceServer) -> None:
    def stop(number: int, frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("listening", extra={"port": server.server_port, **server.about})
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        server.listing.close()
        log.info("stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.source", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=4568, help="default: %(default)s; 0 for any free one")
    add("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add("--mode", choices=("simulated", "recording"), default="simulated", help="default: %(default)s")
    add("--recording", type=Path, metavar="FILE", help="parquet file of five-minute snapshots, or saved JSON answer")
    add("--speed", type=_speed, default=1.0, metavar="N", help="event seconds in a second (default: %(default)s)")
    add("--seed", type=_whole, metavar="N", help="the same seed and start give the same transactions (default: 0)")
    add(
        "--start", type=_start, metavar="ISO", help="event time begins at this whole minute (default: 6.5 h before now)"
    )
    add("--regime-at", type=_told(parse_duration), metavar="DURATION", help="how long after the start --regime holds")
    add("--regime", type=_told(parse_regime), metavar="fees=3,volume=0.5", help="factors of fees and arrivals")
    add("--ledger", type=Path, required=True, metavar="FILE", help="enters every transaction that it listed here")
    add("--page-size", type=_page, metavar="N", help="transactions in an answer (default: the feed's)")
    return parser


def _told(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` as argparse wants it: its message reaches the user."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed <= 100_000:
        raise argparse.ArgumentTypeError(f"the speed lies above 0 and not above 100000, not {text}")
    return speed


def _whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"a whole number from 0, not {text!r}")
    return int(text)


def _page(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"a page has at least 2 transactions, not {text!r}")
    return int(text)


def _start(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a moment such as 2026-11-21T10:00:00Z, not {text!r}") from None
    if moment.tzinfo is None or moment.second or moment.microsecond:
        raise argparse.ArgumentTypeError(f"a whole minute with a time zone, such as 2026-11-21T10:00Z, not {text!r}")
    return int(moment.timestamp())


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadRecording(f"{path} can't be read: {error.strerror or error}") from error


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    main()
