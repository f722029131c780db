"""A way to AWS that holds up chosen calls, so that a program can be killed exactly there."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy:
    """Hands every call on to `endpoint`, but for those of the operation `hold` (for example BatchWriteItem): they
    get no answer, and `holding` is set. With `after`, the service does get the call, and only its answer is held."""

    def __init__(self, endpoint: str, hold: str, after: bool = False) -> None:
        self.holding = threading.Event()
        self._released = threading.Event()
        host = urlsplit(endpoint).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                held = self.headers.get("X-Amz-Target", "").endswith(f".{hold}")
                if held and not after:
                    proxy._hold(self)
                    return
                connection = http.client.HTTPConnection(host, timeout=30)
                connection.request("POST", self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if held:
                    proxy._hold(self)
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[Proxy]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._released.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _hold(self, handler: BaseHTTPRequestHandler) -> None:
        self.holding.set()
        handler.close_connection = True
        self._released.wait()
