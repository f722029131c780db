"""The job as an application cluster on a real Kubernetes (`-m cluster`, with KUBECONFIG): nothing is lost, whatever is
killed, upgraded or rolled back, and nothing is left. AWS is on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from flink.checkpoints import job_id
from loopcast.aws import client
from tests.conftest import Service
from tests.flink.release import Release, forwarded, need_cluster, run
from tests.flink.traffic import (
    all_written,
    events_of,
    harbour_minutes,
    late,
    put_minutes,
    truth_of,
    written,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
HARBOUR = Path("tests/flink/harbour.yaml")
BUCKET = "loopcast-harbour-loads-000000000000"


@pytest.fixture(scope="module")
def release(aws: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Installed before there is a stream."""
    need_cluster()
    namespace = f"loopcast-flink-{uuid4().hex[:8]}"
    run("kubectl", "create", "namespace", namespace)
    run("kubectl", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        with forwarded(aws.endpoint) as endpoint:
            made = Release(namespace, HARBOUR, endpoint, tmp_path_factory.mktemp("release"))
            made.upgrade({}, wait=False)
            yield made
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=false")


def test_it_waits_for_its_streams_and_starts_once_they_are_there(release: Release) -> None:
    release.wait_until("line that says what it waits for", lambda: "waiting for" in release.logs("jobmanager"))
    client("s3").create_bucket(Bucket=BUCKET)
    release.make_streams(shards=1)
    put_minutes(release, 0, 6, seed=1)
    release.wait_until("JobManager that is ready", lambda: release.ready("jobmanager"))
    assert release.kubectl("get", "pods", "-o", "jsonpath={..restartCount}").split() == ["0", "0"]
    all_is_exact(release)


@pytest.mark.parametrize(("seed", "part"), [(2, "jobmanager"), (3, "taskmanager")])
def test_a_killed_pod_loses_nothing(release: Release, seed: int, part: str) -> None:
    put_minutes(release, 6 * (seed - 1), 6 * (seed - 1) + 3, seed=seed)
    release.kill(part)
    put_minutes(release, 6 * (seed - 1) + 3, 6 * seed, seed=10 * seed, repeated=events_of(release))
    all_is_exact(release)


def test_an_upgrade_and_a_rollback_lose_nothing(release: Release) -> None:
    put_minutes(release, 18, 20, seed=41)
    release.upgrade({"jobManager.podAnnotations": {"is": "new"}, "taskManager.podAnnotations": {"is": "new"}})
    assert "Restoring job" in release.logs("jobmanager")
    put_minutes(release, 20, 22, seed=42, repeated=events_of(release))
    all_is_exact(release)
    put_minutes(release, 22, 24, seed=43)
    release.helm("rollback", release.name, "--wait", "--timeout=600s")
    put_minutes(release, 24, 26, seed=44, repeated=events_of(release))
    all_is_exact(release)


def test_its_own_test_passes_while_events_come_in(release: Release) -> None:
    put_minutes(release, 26, 28, seed=51)
    release.upgrade({"tests.flow": False})
    assert "Phase:          Succeeded" in release.helm("test", release.name)


def test_the_newest_checkpoint_is_what_a_new_release_over_an_old_bucket_starts_from(release: Release) -> None:
    release.helm("uninstall", release.name, "--wait")
    release.wait_until("end of everything", lambda: not release.objects())
    put_minutes(release, 28, 30, seed=61, repeated=events_of(release))
    release.upgrade({})
    assert f"/{job_id('harbour-loads')}/chk-" in release.logs("jobmanager")
    all_is_exact(release)


def test_nothing_is_left_once_it_is_uninstalled(release: Release) -> None:
    release.helm("uninstall", release.name)
    release.wait_until("end of everything", lambda: not release.objects())


def all_is_exact(release: Release) -> None:
    """Every closed minute and every late event is there, with the right numbers, and no other."""
    expected = truth_of(release)
    release.wait_until(
        f"{len(expected.minutes)} minutes and {len(expected.late)} late events",
        lambda: all_written(release, expected),
    )
    assert written(release, HARBOUR) == harbour_minutes(expected)
    assert late(release, "harbour-loads") == expected.late
