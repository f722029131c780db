"""A source: a real HTTP server that answers what a test tells it to, one script an answer; the last one for ever."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[BaseHTTPRequestHandler], None]


class HttpSource:
    """`url` answers by `scripts`; `requests` counts what was asked, `connections` how many connections were made."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests = 0
        self.connections = 0
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                source.connections += 1
                super().setup()

            def do_GET(self) -> None:
                source.requests += 1
                script = source.scripts.pop(0) if len(source.scripts) > 1 else source.scripts[0]
                script(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/unconfirmed"

    @contextmanager
    def serving(self) -> Iterator[HttpSource]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def listing(transactions: Sequence[dict[str, Any]]) -> Script:
    """An answer with `transactions`, oldest first: they are listed newest first."""
    return text(json.dumps({"txs": list(reversed(transactions))}))


def text(body: str, status: int = 200, **headers: str) -> Script:
    def script(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, status, len(body.encode()), headers)
        handler.wfile.write(body.encode())

    return script


def cut(body: str) -> Script:
    """An answer that breaks off in its middle."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, len(body.encode()), {})
        handler.wfile.write(body.encode()[: len(body) // 2])
        handler.close_connection = True

    return script


def dripping(body: str, pause: float) -> Script:
    """An answer that comes byte by byte, each soon enough for a time-out between bytes."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, len(body.encode()), {})
        try:
            for byte in body.encode():
                handler.wfile.write(bytes([byte]))
                time.sleep(pause)
        except OSError:
            handler.close_connection = True

    return script


def silent(seconds: float) -> Script:
    """No answer for so long."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return script


def _head(handler: BaseHTTPRequestHandler, status: int, length: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
