"""A tiny forecaster: forecasts LEVEL for every minute, or what is UNSOUND; started as SageMaker starts images."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Forecaster(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        levels = [float(os.environ.get("LEVEL", "1"))] * int(os.environ["STEPS"])
        quantiles = dict.fromkeys(request["configuration"]["quantiles"], levels)
        if os.environ.get("UNSOUND"):
            quantiles.popitem()
        self._answer(json.dumps({"predictions": [{"quantiles": quantiles}]}).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Forecaster).serve_forever()
