"""The Pod Security Standards' `restricted` level (Kubernetes 1.34), the rules of `baseline` among them.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.charts.rendering import Object, containers

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: Object) -> Iterator[str]:
    """What the pod (metadata and spec) does that a restricted namespace refuses."""
    spec = pod["spec"]
    yield from _of_pod(spec)
    yield from _of_contexts("the pod", spec.get("securityContext") or {})
    for container in containers(pod):
        yield from _of_container(container, spec.get("securityContext") or {})


def _of_pod(spec: Object) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is set"
    for volume in spec.get("volumes") or []:
        if kind := set(volume) - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is of a kind that is not allowed: {', '.join(kind)}"
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or []:
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']} is not safe"


def _of_contexts(where: str, context: Object) -> Iterator[str]:
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{where} is a host process"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in _SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{where} sets SELinux options"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield f"{where} is not confined by AppArmor"
    if (context.get("seccompProfile") or {}).get("type", "RuntimeDefault") not in _PROFILES:
        yield f"{where} is not confined by seccomp"
    if context.get("runAsUser") == 0:
        yield f"{where} runs as root"


def _of_container(container: Object, of_pod: Object) -> Iterator[str]:
    name, own = container["name"], container.get("securityContext") or {}
    yield from _of_contexts(name, own)
    yield from _of_privileges(name, own)
    if not (own.get("seccompProfile") or of_pod.get("seccompProfile")):
        yield f"{name} has no seccomp profile"
    if not own.get("runAsNonRoot", of_pod.get("runAsNonRoot")):
        yield f"{name} may run as root: runAsNonRoot is not true"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield f"{name} takes a port of the host"
    if any(action.get("host") for action in _actions(container)):
        yield f"{name} has a probe or a hook that names a host"


def _of_privileges(name: str, own: Object) -> Iterator[str]:
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges: allowPrivilegeEscalation is not false"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} has a /proc that is not masked"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name} does not drop all capabilities"
    if added := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds {', '.join(sorted(added))}"


def _actions(container: Object) -> Iterator[dict[str, Any]]:
    """What probes and life-cycle hooks call."""
    handlers = [container.get(probe) or {} for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += list((container.get("lifecycle") or {}).values())
    for handler in handlers:
        yield from (handler[kind] for kind in ("httpGet", "tcpSocket") if kind in handler)
