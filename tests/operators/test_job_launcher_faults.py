"""Pipelines as Kubernetes Jobs, when the API server refuses, fails or is away: a small server in its place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import kubernetes as k8s
import pytest

from loopcast.names import Names
from operators.launchers.base import LauncherUnreachable, LaunchFailed
from operators.launchers.jobs import JobLauncher
from tests.operators.launchers import run
from tests.operators.test_job_launcher import template


@dataclass
class Api:
    """What the server answers to everything."""

    status: int = 200
    body: object = field(default_factory=dict)


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = json.dumps(made.body).encode()
            self.send_response(made.status)
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
    before = k8s.client.Configuration.get_default_copy()
    k8s.client.Configuration.set_default(k8s.client.Configuration(host=f"http://127.0.0.1:{server.server_address[1]}"))
    try:
        yield made
    finally:
        k8s.client.Configuration.set_default(before)
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def launcher(tmp_path: Path, api: Api) -> Iterator[JobLauncher]:
    (tmp_path / "job.yaml").write_text(json.dumps(template()))
    made = JobLauncher(tmp_path / "job.yaml", "here", Names("parcels", "000000000000"))
    yield made
    for client in (made._batch.api_client, made._core.api_client):
        client.rest_client.pool_manager.clear()


@pytest.mark.parametrize("status", [403, 404, 422])
def test_a_launch_that_is_refused_has_failed_and_says_why(launcher: JobLauncher, api: Api, status: int) -> None:
    api.status, api.body = status, {"message": "pods are not wanted here."}
    with pytest.raises(
        LaunchFailed, match=rf"refused the Job fees-retrain-1 \({status}\): pods are not wanted here\.$"
    ):
        launcher.launch(run("build"))


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_launch_that_may_succeed_later_is_tried_later(launcher: JobLauncher, api: Api, status: int) -> None:
    api.status = status
    with pytest.raises(LauncherUnreachable):
        launcher.launch(run("build"))


@pytest.mark.parametrize(
    "look",
    [
        lambda launcher: launcher.progress(run("build")),
        lambda launcher: launcher.cancel(run("build")),
        lambda launcher: launcher.remove_recurring("fees-monitor"),
    ],
)
@pytest.mark.parametrize("status", [403, 500])
def test_what_can_not_be_looked_at_is_no_end_of_a_run(
    launcher: JobLauncher, api: Api, look: Callable[[JobLauncher], object], status: int
) -> None:
    api.status = status
    with pytest.raises(LauncherUnreachable):
        look(launcher)


def test_a_server_that_is_away_is_tried_later(launcher: JobLauncher, api: Api, tmp_path: Path) -> None:
    nowhere = k8s.client.Configuration(host="http://127.0.0.1:9")
    nowhere.retries = False
    k8s.client.Configuration.set_default(nowhere)
    with pytest.raises(LauncherUnreachable, match="can't be reached"):
        launcher.progress(run("build"))


def test_a_template_that_was_broken_meanwhile_is_a_failed_launch(launcher: JobLauncher) -> None:
    launcher.template.write_text("kind: Pod")
    with pytest.raises(LaunchFailed, match=r"is no Job of batch/v1"):
        launcher.launch(run("build"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Too long"}]},
         "DeadlineExceeded: Too long"),
        ({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]},
         "BackoffLimitExceeded"),
    ],
)  # fmt: skip
def test_a_failed_run_whose_pod_is_gone_says_what_its_job_says(
    launcher: JobLauncher, api: Api, status: object, expected: str
) -> None:
    api.body = {"metadata": {"uid": "u", "name": "fees-retrain-1"}, "status": status, "items": []}
    assert launcher.progress(run("build")).message == expected


def test_the_compiled_pipeline_is_known_by_its_content(launcher: JobLauncher, tmp_path: Path) -> None:

    known = replace(launcher, compiled=tmp_path)
    assert known.digest("build") == ""
    (tmp_path / "build.yaml").write_text("one")
    one = known.digest("build")
    (tmp_path / "build.yaml").write_text("two")
    assert one != known.digest("build") != ""
