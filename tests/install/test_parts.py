"""What a person is told of a release's parts."""

from __future__ import annotations

from typing import Any

from install.parts import Changes, Part, failing, parts, policy_line, waiting_for

LABELS = {"app.kubernetes.io/component": "poller"}


def deployment(**status: object) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "loopcast-poller", "generation": 2},
        "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}},
        "status": {"observedGeneration": 2, **status},
    }


def pod(*containers: dict[str, Any], name: str = "loopcast-poller-1", **status: object) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": LABELS},
        "status": {"phase": "Pending", "containerStatuses": list(containers), **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"name": "poller", "state": {"waiting": {"reason": reason, "message": message}}}


def test_a_deployment_is_ready_when_its_new_replicas_are() -> None:
    assert [part.ready for part in parts([deployment(readyReplicas=1, updatedReplicas=1)], [])] == [True]


def test_a_deployment_whose_change_was_not_seen_yet_is_not_ready() -> None:
    stale = deployment(readyReplicas=1, updatedReplicas=1, observedGeneration=1)
    assert not parts([stale], [])[0].ready


def test_a_deployment_with_old_replicas_alone_is_not_ready() -> None:
    assert not parts([deployment(readyReplicas=1)], [])[0].ready


def test_a_job_is_ready_when_it_is_complete() -> None:
    job = {"kind": "Job", "metadata": {"name": "resources"}, "spec": {}}
    assert not parts([job], [])[0].ready
    assert parts([{**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}], [])[0].ready


def test_a_part_says_what_its_pod_waits_for() -> None:
    found = parts([deployment()], [pod(waiting("ImagePullBackOff", "not found"))])
    assert [part.line for part in found] == ["loopcast-poller: poller waits: ImagePullBackOff (not found)"]
    assert found[0].hopeless


def test_a_part_is_not_told_of_another_parts_pod() -> None:
    stranger = {**pod(waiting("ImagePullBackOff")), "metadata": {"name": "x", "labels": {}}}
    assert parts([deployment()], [stranger])[0].line == "loopcast-poller: starting"


def test_a_pod_that_no_node_takes_says_why() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    assert waiting_for(pod(conditions=[unscheduled])) == "no node takes it: 0/1 nodes"


def test_a_pod_that_just_starts_waits_for_nothing_worth_telling() -> None:
    assert waiting_for(pod(waiting("ContainerCreating"))) == ""


def test_a_pod_that_waits_in_its_first_container_says_so() -> None:
    init = {"name": "wait", "state": {"running": {}}, "ready": False, "started": True}
    assert waiting_for(pod(waiting("PodInitializing"), initContainerStatuses=[init])) == "wait runs and is not ready"


def test_a_failing_pod_names_the_container_whose_log_tells_why() -> None:
    ended = {"name": "poller", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}
    assert failing([pod(ended)]) == [("loopcast-poller-1", "poller", "poller ended with 2 (Error)")]


def test_a_pod_that_did_its_work_does_not_fail() -> None:
    ended = {"name": "poller", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    assert failing([pod(ended, phase="Succeeded")]) == []


def test_a_change_is_told_once() -> None:
    changes = Changes()
    starting, ready = Part("a", ready=False), Part("a", ready=True)
    assert [changes.news([part]) for part in (starting, starting, ready)] == [["a: starting"], [], ["a: ready"]]


def test_a_policy_is_told_with_its_state_and_the_reason() -> None:
    policy = {"kind": "ReleasePolicy", "metadata": {"name": "fees"}}
    assert policy_line(policy) == "ReleasePolicy fees: not looked at yet"
    decided = {**policy, "status": {"state": "Waiting", "reason": "StagingBakes"}}
    assert policy_line(decided) == "ReleasePolicy fees: Waiting (StagingBakes)"
