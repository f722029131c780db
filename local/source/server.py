"""The HTTP server: `/unconfirmed-transactions`, and the control, health and metrics beside it."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from local.source.clock import MICROSECONDS
from local.source.delivery import is_delivered
from local.source.faults import Fault, Faults
from local.source.listing import Listing, Page
from local.source.regime import Regime

log = logging.getLogger(__name__)

_IDLE_SECONDS = 60
_LARGEST_CONTROL = 65_536
_SLOW_SECONDS = 3
_SKEW_SECONDS = 86_400
_JSON = "application/json"


class Control(BaseModel):
    """What `POST /control` may change."""

    model_config = ConfigDict(extra="forbid")
    speed: Annotated[float, Field(gt=0, le=100_000)] | None = None
    until: AwareDatetime | None = None
    regime: Regime | None = None
    fault: Fault | None = None


class SourceServer(ThreadingHTTPServer):
    """Serves `listing` on `port` of `host`; `about` is what `/control` says beside the listing's status."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, listing: Listing, about: Mapping[str, Any], host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.listing, self.about, self.faults = listing, about, Faults()
        self.registry = CollectorRegistry()
        self.registry.register(_Collector(listing))

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("a connection ended early", exc_info=True)


class _Collector:
    """The listing's status as Prometheus metrics."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def collect(self) -> Iterator[Metric]:
        status = self._listing.status()
        counts = {
            "arrived": "Transactions that have arrived",
            "listed": "Transactions in answers that were sent whole",
            "unlisted": "Transactions that left the page before an answer with them was sent whole",
            "answered": "Answers that were sent whole",
        }
        for name, meaning in counts.items():
            yield CounterMetricFamily(f"loopcast_source_{name}", meaning, value=getattr(status, name))
        event_time = status.event_time.timestamp()
        yield GaugeMetricFamily("loopcast_source_event_time_seconds", "Event time", value=event_time)
        yield GaugeMetricFamily("loopcast_source_speed", "Event seconds in a wall second", value=status.speed)


class _Handler(BaseHTTPRequestHandler):
    server: SourceServer
    protocol_version = "HTTP/1.1"
    server_version = "loopcast-source"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        match urlsplit(self.path).path:
            case "/unconfirmed-transactions":
                self._list()
            case "/control":
                self._answer_json(self._status())
            case "/healthz" | "/readyz":
                self._answer(b"ok\n", "text/plain")
            case "/metrics":
                self._answer(generate_latest(self.server.registry), CONTENT_TYPE_LATEST)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "the transactions are at /unconfirmed-transactions?format=json")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_CONTROL:
            self.close_connection = True
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a control has at most {_LARGEST_CONTROL} bytes")
            return
        body = self.rfile.read(length)
        if urlsplit(self.path).path != "/control":
            self._refuse(HTTPStatus.NOT_FOUND, "only /control takes a POST")
            return
        try:
            self._apply(Control.model_validate_json(body))
        except ValidationError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, _sentence(error))
            return
        self._answer_json(self._status())

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def _list(self) -> None:
        fault = self.server.faults.take()
        if fault is not None:
            log.info("an answer has a fault", extra={"fault": fault.kind})
        match fault.kind if fault else None:
            case "empty":
                self._answer(b'{"txs":[]}')
            case "429" | "503" as status:
                self._refuse(HTTPStatus(int(status)), "as the fault switch says", {"Retry-After": "1"})
            case _:
                page = self.server.listing.page()
                if self._send_page(page, fault):
                    self.server.listing.sent_whole(page)

    def _send_page(self, page: Page, fault: Fault | None) -> bool:
        """Whether the page was sent whole, and as it is: what a faulty answer lists may not count as listed."""
        body = _body(page)
        match fault.kind if fault else None:
            case "slow":
                return self._answer(body, pause=(fault and fault.seconds) or _SLOW_SECONDS)
            case "missing_fee":
                return self._answer(_changed(body, lambda transaction: transaction.pop("fee", None)))
            case "cut":
                self._answer(body[: len(body) // 2], length=len(body))
                self.close_connection = True
                return False
            case "invalid_json":
                self._answer(body[: len(body) // 2])
                return False
            case "clock_skew":
                ahead = (fault and fault.seconds) or _SKEW_SECONDS
                self._answer(_changed(body, lambda transaction: transaction.update(time=transaction["time"] + ahead)))
                return False
        return self._answer(body)

    def _apply(self, control: Control) -> None:
        listing = self.server.listing
        if control.speed is not None:
            listing.change_speed(control.speed)
        if "until" in control.model_fields_set:
            listing.hold_at(_microseconds(control.until) if control.until else None)
        if control.regime is not None:
            listing.change_regime(control.regime)
        if "fault" in control.model_fields_set:
            self.server.faults.switch(control.fault)
        log.info("controlled", extra={"control": control.model_dump(mode="json", exclude_unset=True)})

    def _status(self) -> dict[str, Any]:
        status = dataclasses.asdict(self.server.listing.status())
        status |= {name: _iso(status[name]) for name in ("event_time", "until")}
        return {**status, "regime": status["regime"].model_dump(), "faults": self.server.faults.left()} | dict(
            self.server.about
        )

    def _refuse(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self._answer(json.dumps({"error": reason}).encode(), status=status, headers=headers)

    def _answer_json(self, document: Mapping[str, Any]) -> None:
        self._answer(json.dumps(document).encode())

    def _answer(
        self,
        body: bytes,
        content_type: str = _JSON,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
        pause: float = 0,
    ) -> bool:
        """Sends an answer, with a pause in its middle when one is asked for; returns whether it was sent whole."""
        self.send_response(status)
        stated = {"Content-Type": content_type, "Content-Length": str(len(body) if length is None else length)}
        for name, value in (stated | dict(headers or {})).items():
            self.send_header(name, value)
        try:
            self.end_headers()
            if pause:
                self.wfile.write(body[: len(body) // 2])
                time.sleep(pause)
                body = body[len(body) // 2 :]
            self.wfile.write(body)
            whole = is_delivered(self.connection, _IDLE_SECONDS)
        except OSError:
            whole = False
        self.close_connection = self.close_connection or not whole
        return whole


def _body(page: Page) -> bytes:
    return b'{"txs":[' + b",".join(arrival.text for arrival in reversed(page.arrivals)) + b"]}"


def _changed(body: bytes, change: Any) -> bytes:
    """The answer with `change` made to each of its transactions."""
    document = json.loads(body)
    for transaction in document["txs"]:
        change(transaction)
    return json.dumps(document, separators=(",", ":")).encode()


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * MICROSECONDS)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the control'}: {first['msg']}"
