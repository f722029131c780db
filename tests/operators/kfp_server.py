"""A small Kubeflow Pipelines API over HTTP: what it takes and gives passes through `kfp_server_api`'s own models."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import kfp_server_api

_CLIENT = kfp_server_api.ApiClient()
_ITEMS = {
    "runs": ("V2beta1Run", "run_id"),
    "recurringruns": ("V2beta1RecurringRun", "recurring_run_id"),
    "experiments": ("V2beta1Experiment", "experiment_id"),
}
_LISTS = {"runs": "runs", "recurringruns": "recurringRuns", "experiments": "experiments"}


@dataclass
class Kfp:
    """What the server holds, by collection and id. `faults` are what the next requests meet: a status, `drop` (no
    answer) or `drop-after` (done, but no answer)."""

    url: str = ""
    items: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in _ITEMS})
    pipelines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: list[int | str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def add_version(self, pipeline: str, version: str, **types: str) -> None:
        """A newer version of a pipeline that takes feed, run_id and parameters of these types."""
        parameters = {
            name: {"parameterType": of} for name, of in {"feed": "STRING", "run_id": "STRING", **types}.items()
        }
        spec = {"pipeline_spec": {"root": {"inputDefinitions": {"parameters": parameters}}}}
        self.pipelines.setdefault(pipeline, []).insert(
            0, {"pipeline_version_id": f"id-{version}", "display_name": version, "pipeline_spec": spec}
        )

    def all(self, collection: str) -> list[dict[str, Any]]:
        return list(self.items[collection].values())

    def end(self, state: str, message: str = "") -> None:
        """Every run that goes on ends like this."""
        for run in self.all("runs"):
            if run["state"] == "RUNNING":
                run["state"] = state
                if message:
                    run["error"] = {"code": 2, "message": message}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        parts = path.removeprefix("/apis/v2beta1/").split("/")
        if parts[0] == "pipelines":
            return self._pipeline(parts[1:])
        if parts[0] not in _ITEMS:
            return 404, {"message": f"no such path: {path}"}
        return self._item(method, parts[0], parts[1:], query, body)

    def _pipeline(self, parts: list[str]) -> tuple[int, Any]:
        if parts[0] == "names":
            known = parts[1] in self.pipelines
            return (200, _checked("V2beta1Pipeline", {"pipeline_id": parts[1]})) if known else (404, {"message": "no"})
        versions = self.pipelines.get(parts[0], [])
        return 200, _checked("V2beta1ListPipelineVersionsResponse", {"pipeline_versions": versions})

    def _item(
        self, method: str, collection: str, parts: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        held, (model, key) = self.items[collection], _ITEMS[collection]
        if method == "POST" and not parts:
            made = _checked(model, body) | {key: uuid4().hex, "created_at": datetime.now(UTC).isoformat()}
            if collection == "runs":
                made["state"] = "RUNNING"
            held[made[key]] = made
            return 200, _checked(model, made)
        if method == "GET" and not parts:
            wanted = json.loads(query["filter"])["predicates"][0]["stringValue"]
            found = [item for item in held.values() if item["display_name"] == wanted]
            return 200, {_LISTS[collection]: [_checked(model, item) for item in found]}
        name, _, verb = parts[0].partition(":")
        if name not in held:
            return 404, {"message": f"{name} not found"}
        if method == "DELETE":
            del held[name]
        if verb == "terminate":
            held[name]["state"] = "CANCELING"
        return 200, _checked(model, held[name]) if method == "GET" else {}


def _checked(model: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document after a way through the client's model, whose setters refuse what the API does not know."""
    text = json.dumps(document, default=str)
    parsed = _CLIENT.deserialize(SimpleNamespace(data=text), model)
    return {key: value for key, value in parsed.to_dict().items() if value is not None}


@contextmanager
def serving() -> Iterator[Kfp]:
    kfp = Kfp()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            url, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            kfp.requests.append((self.command, url.path))
            kfp.tokens.add(self.headers.get("Authorization", ""))
            fault = kfp.faults.pop(0) if kfp.faults else None
            if fault == "drop":
                self.close_connection = True
                return
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            status, answer = (
                (fault, {"message": "A fault."})
                if isinstance(fault, int)
                else kfp.answer(self.command, url.path, query, body)
            )
            if fault == "drop-after":
                self.close_connection = True
                return
            content = json.dumps(answer, default=str).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kfp.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kfp
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
