"""The check of restricted Pod Security finds each thing that the standard forbids."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.charts.pod_security import violations
from tests.charts.rendering import Object

GOOD: Object = {
    "metadata": {},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "one",
                "image": "x",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}


def changed(path: str, value: Any) -> Object:
    """`GOOD` with one field changed; a value of ... takes it away."""
    pod = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    at: Any = pod["spec"]
    for step in way:
        at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return pod


def test_should_find_nothing_in_a_restricted_pod() -> None:
    assert list(violations(GOOD)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("hostNetwork", True),
        ("hostPID", True),
        ("hostIPC", True),
        ("volumes", [{"name": "x", "hostPath": {"path": "/"}}]),
        ("volumes", [{"name": "x", "nfs": {"server": "y"}}]),
        ("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
        ("securityContext.runAsNonRoot", ...),
        ("securityContext.runAsUser", 0),
        ("securityContext.seccompProfile", ...),
        ("securityContext.seccompProfile.type", "Unconfined"),
        ("securityContext.seLinuxOptions", {"user": "x"}),
        ("securityContext.seLinuxOptions", {"type": "spc_t"}),
        ("securityContext.appArmorProfile", {"type": "Unconfined"}),
        ("securityContext.windowsOptions", {"hostProcess": True}),
        ("containers.0.securityContext.privileged", True),
        ("containers.0.securityContext.allowPrivilegeEscalation", ...),
        ("containers.0.securityContext.capabilities", ...),
        ("containers.0.securityContext.capabilities.add", ["NET_ADMIN"]),
        ("containers.0.securityContext.procMount", "Unmasked"),
        ("containers.0.securityContext.runAsNonRoot", False),
        ("containers.0.securityContext.runAsUser", 0),
        ("containers.0.securityContext.seccompProfile", {"type": "Unconfined"}),
        ("containers.0.ports", [{"containerPort": 1, "hostPort": 1}]),
        ("containers.0.livenessProbe", {"httpGet": {"host": "example.org", "port": 1}}),
        ("containers.0.lifecycle", {"preStop": {"tcpSocket": {"host": "example.org", "port": 1}}}),
        ("initContainers", [{"name": "two", "image": "x"}]),
    ],
)
def test_should_find_what_the_standard_forbids(path: str, value: Any) -> None:
    assert list(violations(changed(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("volumes", [{"name": "x", "emptyDir": {}}, {"name": "y", "projected": {}}]),
        ("securityContext.sysctls", [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]),
        ("containers.0.securityContext.capabilities.add", ["NET_BIND_SERVICE"]),
        ("containers.0.livenessProbe", {"httpGet": {"path": "/", "port": 1}}),
    ],
)
def test_should_allow_what_the_standard_allows(path: str, value: Any) -> None:
    assert list(violations(changed(path, value))) == []
