"""A model image for tests: it forecasts the last minute that it is shown, and SHIFT more, at every step.

Quantiles below the median lie SPREAD lower, those above SPREAD higher.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HORIZON = 10
SHIFT, SPREAD = float(os.environ["SHIFT"]), float(os.environ.get("SPREAD", "5"))


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        levels = request["configuration"]["quantiles"]
        known = [[value for value in instance["target"] if value is not None][-1] for instance in request["instances"]]
        predictions = [{"quantiles": {level: [_value(level, last)] * HORIZON for level in levels}} for last in known]
        self._answer(json.dumps({"predictions": predictions}).encode())

    def _answer(self, body: bytes) -> None:
        broken = bool(body) and "BROKEN" in os.environ
        self.send_response(500 if broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _value(level: str, last: float) -> float:
    return last + SHIFT + SPREAD * ((float(level) > 0.5) - (float(level) < 0.5))


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Model).serve_forever()
