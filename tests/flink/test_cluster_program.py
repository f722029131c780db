"""What starts the processes of the cluster: what it refuses, what it waits for, and what it tells Flink."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from flink import cluster, high_availability
from flink.check import Watch
from flink.checkpoints import job_id
from flink.home import Setup
from flink.metrics import FlinkMetrics
from flink.probe import wrong
from flink.settings import Refused
from loopcast.aws import client
from tests.conftest import Service, free_port
from tests.flink.kinesis import Stream

JOB = job_id("bitcoin-fees")
SETUP = Setup(Path("/opt/venv/bin/python"), "s3://any/checkpoints/", 10, JOB, 4, 8081, 9249)


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flink.cluster", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_fewer_slots_than_shards_are_refused() -> None:
    done = run("jobmanager", "--max-shards", "5", "--task-managers", "2", "--slots", "2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "flink.cluster: 2 TaskManagers with 2 slots each have 4 slots, but the stream may have 5 shards and each "
        "needs one: raise --task-managers or --slots"
    )


def test_as_many_slots_as_shards_are_enough() -> None:
    cluster.require_slots(2, 2, 4)


def test_more_shards_than_watermarks_could_be_kept_for_are_refused_at_once(aws: Service) -> None:
    stream = Stream(shards=3)
    done = run("jobmanager", "--events-stream", stream.name, "--max-shards", "2", "--slots", "2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"flink.cluster: {stream.name} has 3 shards, closed ones included")


def test_what_it_waited_for_in_vain_is_named(aws: Service) -> None:
    done = run("jobmanager", "--events-stream", "there-is-none", "--wait", "0")
    assert done.returncode == 1
    assert "waited 0 s for what the job needs" in done.stderr
    assert "there-is-none" in done.stderr.splitlines()[-1]


def test_it_goes_on_once_what_it_waits_for_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.0)
    refusals = [EndpointConnectionError(endpoint_url="http://absent")] * 3

    def look() -> str:
        if refusals:
            raise refusals.pop()
        return "found"

    assert cluster.patiently(60, look) == "found"


def test_a_refusal_of_ours_is_not_waited_for() -> None:
    def look() -> None:
        raise Refused("never")

    with pytest.raises(Refused, match="never"):
        cluster.patiently(60, look)


def test_an_endless_wait_ends_with_sigterm(aws: Service) -> None:
    command = [sys.executable, "-m", "flink.cluster", "jobmanager", "--events-stream", "there-is-none"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "waiting for what the job needs" in process.stderr.readline()
        process.terminate()
        assert process.wait(30) == 128 + 15


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["jobmanager", "--setting", "nonsense"], "not KEY=VALUE: 'nonsense'"),
        (["jobmanager", "--feed", "absent.yaml"], "flink.cluster: absent.yaml"),
        ([], "the following arguments are required: jobmanager|taskmanager"),
    ],
)
def test_bad_input_gives_one_clear_sentence(flags: list[str], said: str) -> None:
    done = run(*flags)
    assert done.returncode in (1, 2)
    assert said in done.stderr.splitlines()[-1]


def test_outside_of_a_pod_it_says_that_there_is_no_api_server(aws: Service) -> None:
    client("s3").create_bucket(Bucket="flink-cluster-test")
    flags = [word for which in ("events", "minutes", "late") for word in (f"--{which}-stream", Stream().name)]
    done = run("jobmanager", *flags, "--checkpoints", "s3://flink-cluster-test/checkpoints/")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "flink.cluster: there is no API server: this runs in a pod that has a service account's token only"
    )


def test_flags_and_settings_reach_flink(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flags = ["taskmanager", "--cluster-id", "here-flink", "--namespace", "somewhere", "--host", "10.0.0.7"]
    flags += ["--slots", "4", "--memory", "800", "-D", "web.refresh-interval=9", "-D", "heartbeat.timeout=1 min"]
    monkeypatch.setattr(sys, "argv", ["flink.cluster", *flags, "--work-dir", str(tmp_path)])
    settings = cluster.settings(cluster._arguments(), SETUP)
    expected = {
        "$internal.pipeline.job-id": JOB,
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": "s3://any/checkpoints/ha",
        "kubernetes.cluster-id": "here-flink",
        "kubernetes.namespace": "somewhere",
        "jobmanager.rpc.address": "10.0.0.7",
        "taskmanager.numberOfTaskSlots": "4",
        "taskmanager.memory.process.size": "800m",
        "execution.checkpointing.dir": "s3://any/checkpoints/",
        "web.refresh-interval": "9",
        "heartbeat.timeout": "1 min",
    }
    assert {key: settings[key] for key in expected} == expected


class Maps:
    """ConfigMaps in memory, as the API server keeps them."""

    def __init__(self, **found: Mapping[str, Any]) -> None:
        self.found: dict[str, Any] = {name.replace("_", "-"): dict(one) for name, one in found.items()}

    def get(self, name: str) -> Any | None:
        return self.found.get(name)

    def create(self, config_map: Mapping[str, Any]) -> None:
        self.found.setdefault(config_map["metadata"]["name"], dict(config_map))

    def change(self, name: str, patch: Mapping[str, Any]) -> None:
        for part, values in patch.items():
            merged = {**self.found[name].get(part, {}), **values}
            self.found[name][part] = {key: value for key, value in merged.items() if value is not None}


def owners(maps: Maps, name: str) -> list[str]:
    return [one["uid"] for one in maps.found[name]["metadata"]["ownerReferences"]]


def test_flinks_config_maps_belong_to_the_release() -> None:
    maps = Maps(here_ha={"metadata": {"name": "here-ha", "uid": "u-1"}}, here_cluster_config_map={"metadata": {}})
    high_availability.adopt(maps, "here", JOB, "here-ha")
    assert [owners(maps, name) for name in high_availability.names("here", JOB)] == [["u-1"], ["u-1"]]


def test_a_release_that_was_installed_anew_takes_them_over() -> None:
    old = {"metadata": {"ownerReferences": [{"uid": "u-0"}]}, "data": {"checkpointID-7": "where"}}
    maps = Maps(here_ha={"metadata": {"uid": "u-1"}})
    name = high_availability.names("here", JOB)[1]
    maps.found[name] = old
    high_availability.adopt(maps, "here", JOB, "here-ha")
    assert owners(maps, name) == ["u-1"]
    assert maps.found[name]["data"] == {"checkpointID-7": "where"}


def test_an_owner_that_is_not_there_is_named() -> None:
    with pytest.raises(LookupError, match="there is no ConfigMap here-ha"):
        high_availability.adopt(Maps(), "here", JOB, "here-ha")


def test_the_plan_of_the_last_start_is_forgotten_and_its_checkpoints_are_not(aws: Service) -> None:
    client("s3").create_bucket(Bucket="flink-ha-test")
    kept, gone = "ha/here/completedCheckpoint1", "ha/here/submittedJobGraph1"
    for key in (kept, gone):
        client("s3").put_object(Bucket="flink-ha-test", Key=key, Body=b"state")
    maps = Maps(here_cluster_config_map={"data": {f"jobGraph-{JOB}": "where", "org.apache.flink": "leader"}})
    assert high_availability.forget_graph(maps, "here", JOB, "s3://flink-ha-test/ha")
    assert maps.found["here-cluster-config-map"]["data"] == {"org.apache.flink": "leader"}
    listed = client("s3").list_objects_v2(Bucket="flink-ha-test")["Contents"]
    assert [item["Key"] for item in listed] == [kept]
    assert not high_availability.forget_graph(maps, "here", JOB, "s3://flink-ha-test/ha")


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([], "there is no job yet"),
        ([{"state": "RESTARTING", "tasks": {}}], "the job is RESTARTING"),
        ([{"state": "RUNNING", "tasks": {"running": 3, "total": 5}}], "3 of 5 tasks run"),
        ([{"state": "RUNNING", "tasks": {"running": 5, "total": 5}}], None),
    ],
)
def test_the_probe_says_why_the_job_does_not_run(jobs: list[dict[str, Any]], said: str | None) -> None:
    assert wrong({"jobs": jobs}) == said


def test_the_probe_fails_where_nothing_listens() -> None:
    command = [sys.executable, "-m", "flink.probe", "--rest-port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("the JobManager doesn't answer")


RUNNING = {"jobs": [{"state": "RUNNING", "tasks": {"running": 2, "total": 2}}]}


def numbers(checkpoint: int, records: int = 0, watermark: int | None = None, behind: int | None = 0) -> FlinkMetrics:
    return FlinkMetrics(records, 0, 0, 0, 0, watermark, behind, checkpoint)


def test_a_job_that_runs_checkpoints_and_reads_is_sound() -> None:
    watch = Watch(flow=False)
    watch.look(RUNNING, numbers(3))
    assert watch.missing() == ["no checkpoint was completed meanwhile"]
    watch.look(RUNNING, numbers(4))
    assert watch.missing() == []


def test_with_flow_events_must_be_read_and_move_the_watermark() -> None:
    watch = Watch(flow=True)
    watch.look(RUNNING, numbers(3, 10, 1000))
    watch.look(RUNNING, numbers(4, 11, 1000))
    assert watch.missing() == ["the watermark did not move"]
    watch.look(RUNNING, numbers(4, 11, 1001))
    assert watch.missing() == []


def test_counters_that_begin_anew_after_a_restart_still_have_to_rise() -> None:
    watch = Watch(flow=True)
    watch.look(RUNNING, numbers(3, 100, 1000))
    watch.look(RUNNING, numbers(4, 0, 1000))
    assert "no event was read meanwhile" in watch.missing()
    watch.look(RUNNING, numbers(4, 1, 2000))
    assert watch.missing() == []


def test_a_stream_that_is_not_read_is_said() -> None:
    watch = Watch(flow=False)
    watch.look(RUNNING, numbers(3, behind=None))
    assert "no shard of the stream is read" in watch.missing()
