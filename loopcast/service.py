"""What every long-running program of ours has: settings, JSON logs, metrics, health and a clean stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pythonjsonlogger.json import JsonFormatter

from loopcast import aws
from loopcast.clock import Clock
from loopcast.feed import Feed, FeedError, load_feed
from loopcast.names import Names

GRACE = 5.0
"""How long, in seconds, work in hand is tried again after a stop was asked for."""
LAST_CALL = 4.0
"""Seconds after the grace in which a call must have ended."""
STUCK_AFTER = 300.0
"""A thread that says nothing for so many seconds is stuck: above the longest that one AWS call may take."""

log = logging.getLogger(__name__)


class Stop:
    """Asked for once, by SIGTERM or SIGINT; then nothing new is begun, and what is in hand has `GRACE` seconds."""

    def __init__(self, grace: float = GRACE) -> None:
        self._event = threading.Event()
        self._grace = grace
        self._deadline = float("inf")

    def request(self) -> None:
        if not self.requested:
            self._deadline = time.monotonic() + self._grace
            self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    @property
    def flag(self) -> threading.Event:
        """Set once a stop was asked for, for others to wait for."""
        return self._event

    def wait(self, seconds: float) -> None:
        """Idles for `seconds`, or until a stop is asked for."""
        self._event.wait(max(0.0, seconds))

    def pause(self, seconds: float) -> bool:
        """Waits before work in hand is tried again; False when there is no time for that any more."""
        if not self.requested:
            self._event.wait(seconds)
            return True
        left = self._deadline - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))
        return left > 0


class Health:
    """Live while each thread of work that has begun still beats; ready once the last try of the work succeeded."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._beats: dict[str, float] = {}
        self.ready = False

    def beat(self, worker: str = "main") -> None:
        self._beats[worker] = self._monotonic()

    def ended(self, worker: str) -> None:
        self._beats.pop(worker, None)

    @property
    def live(self) -> bool:
        oldest = min(self._beats.copy().values(), default=float("inf"))
        return self._monotonic() - oldest < STUCK_AFTER


@dataclass(frozen=True)
class Part:
    """A running program: what it works on and how it is told to stop. `name` is for example feature-writer."""

    name: str
    feed: Feed
    names: Names
    clock: Clock
    stop: Stop = field(default_factory=Stop)
    health: Health = field(default_factory=Health)


def run(
    name: str,
    description: str,
    work: Callable[[Part, argparse.Namespace], None],
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Runs `work` until it returns, which it does soon after its part's stop was asked for."""
    parser = _parser(name, description)
    parser.add_argument("--http-port", type=int, default=8080, help="of /healthz, /readyz and /metrics; 0: a free one")
    add_flags(parser)
    settings = parser.parse_args()
    part = part_of(name, settings)
    stop_on_signals(part.stop)
    with _served(part.health, settings.http_port) as port:
        log.info("started", extra={"part": name, "feed": part.feed.name, "http_port": port})
        work(part, settings)
    log.info("stopped", extra={"part": name})


def run_once(
    name: str,
    description: str,
    work: Callable[[Part, argparse.Namespace], None],
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """As `run`, for a program that ends by itself and so has no health to show."""
    parser = _parser(name, description)
    add_flags(parser)
    settings = parser.parse_args()
    part = part_of(name, settings)
    stop_on_signals(part.stop)
    work(part, settings)


def part_of(name: str, settings: argparse.Namespace) -> Part:
    """The part that the flags describe. Exits with one sentence when they are wrong."""
    _log_json(settings.log_level)
    try:
        feed, clock = load_feed(settings.feed), Clock(settings.speed)
    except (FeedError, ValueError) as error:
        raise SystemExit(str(error)) from error
    return Part(name, feed, Names(feed.name, settings.account or _account()), clock)


def _account() -> str:
    try:
        return aws.account()
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"STS doesn't say which AWS account this is ({error}): set LOOPCAST_ACCOUNT") from error


def stop_on_signals(stop: Stop) -> None:
    """A thread waits for the signals: a handler would run in the middle of whatever the main thread does.

    A call that hangs can't hold the program: what is in hand is not acknowledged, so it comes again.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        log.info("asked to stop", extra={"signal": signal.Signals(signal.sigwait(signals)).name})
        stop.request()
        time.sleep(GRACE + LAST_CALL)
        log.error("a call did not end in time: left it alone")
        os._exit(1)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module(name)}",
        description=description,
        epilog="Where the AWS APIs are, the region and the credentials: AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, "
        "AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, as everywhere.",
    )
    env = os.environ
    parser.add_argument(
        "--feed", default=env.get("LOOPCAST_FEED", "feeds/bitcoin-fees.yaml"), help="the feed file (LOOPCAST_FEED)"
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=env.get("LOOPCAST_SPEED", "1"),
        help="seconds of event time in a second of wall time (LOOPCAST_SPEED)",
    )
    parser.add_argument("--account", default="", help="the AWS account's id (LOOPCAST_ACCOUNT); else STS is asked")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser


def _module(name: str) -> str:
    """The module that was started with `python -m`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else name


def _log_json(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)


@contextmanager
def _served(health: Health, port: int) -> Iterator[int]:
    """Serves health and metrics meanwhile; yields the port."""
    try:
        server = _Server(("", port), _handler(health))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise SystemExit(f"port {port} can't be used ({why}): choose another with --http-port") from error
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._answer(200 if health.live else 503, b"ok\n" if health.live else b"stuck\n")
                case "/readyz":
                    self._answer(200 if health.ready else 503, b"ok\n" if health.ready else b"not ready\n")
                case "/metrics":
                    self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
                case _:
                    self._answer(404, b"there are /healthz, /readyz and /metrics\n")

        def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Probes come every few seconds: they aren't logged."""

    return Handler
