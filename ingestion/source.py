"""The feed's source: one HTTP request, one list of items, and a name for everything that can go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import jmespath
import requests
import urllib3

from loopcast.feed import Feed

MOST_BYTES = 64 * 1024 * 1024
"""Of an answer, unpacked."""
_CHUNK = 64 * 1024


class SourceFault(Exception):
    """An answer that can't be used. `reason` is short and stable, fit for a metric's label; `retry_after` is in
    seconds of wall time, None when the source does not say."""

    def __init__(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.retry_after = retry_after


class Source:
    """Polls `url` as the feed says, over one kept connection."""

    def __init__(self, feed: Feed, url: str) -> None:
        self._url = url
        self._timeout = feed.source.timeout
        self._items = jmespath.compile(feed.source.items)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "loopcast"

    def poll(self) -> list[object]:
        """The items of one answer, at least one, in the source's order. Raises `SourceFault`."""
        try:
            return self._read()
        except requests.Timeout as error:
            raise SourceFault("timeout", str(error)) from error
        except (
            requests.ConnectionError,
            urllib3.exceptions.HTTPError,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise SourceFault(_why(error), str(error)) from error
        except requests.RequestException as error:
            raise SourceFault("request", str(error)) from error

    def close(self) -> None:
        self._session.close()

    def _read(self) -> list[object]:
        deadline = time.monotonic() + self._timeout
        with self._session.get(self._url, stream=True, timeout=self._timeout) as response:
            if response.status_code != 200:
                raise _status_fault(response)
            return self._parse(b"".join(_chunks(response, deadline)))

    def _parse(self, body: bytes) -> list[object]:
        try:
            document = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise SourceFault("invalid_json", str(error)) from error
        items = self._items.search(document)
        if not items:
            raise SourceFault("empty", "the answer has no items")
        if not isinstance(items, list):
            raise SourceFault("not_a_list", f"the items are {type(items).__name__}")
        return items


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds from `now` that a Retry-After header asks for: it holds seconds or an HTTP date."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - now).total_seconds())


def _status_fault(response: requests.Response) -> SourceFault:
    wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    return SourceFault(f"http_{response.status_code}", response.reason or "", wait)


def _chunks(response: requests.Response, deadline: float) -> Iterator[bytes]:
    """The body, unpacked, piece by piece as it comes: a source that drips must not hold the poller for ever."""
    size = 0
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        size += len(chunk)
        if time.monotonic() > deadline:
            raise SourceFault("timeout", "the answer was not whole in time")
        if size > MOST_BYTES:
            raise SourceFault("too_large", f"the answer is over {MOST_BYTES} bytes")
        yield chunk


def _why(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "timeout"
    if isinstance(error, urllib3.exceptions.HTTPError):
        return "cut"  # the answer had begun
    return "connection"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
