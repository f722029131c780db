"""The hosts of a training job, which train one model together: each on windows of its own, with one averaged gradient.

SageMaker names them in resourceconfig.json; they meet at the first. A job of one host has nobody to meet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from forecasters.contract import Folders

if TYPE_CHECKING:
    from torch import Tensor

PORT = "7777"
"""Where the hosts meet at the first of them, unless MASTER_PORT says otherwise."""
MEETING_SECONDS = 300
"""How long the hosts wait for each other; one that has failed fails the others then."""


@dataclass(frozen=True)
class Hosts:
    """`rank` is this host's place among `names`; the first is the leader, which writes the model and the scores."""

    names: Sequence[str] = ("algo-1",)
    rank: int = 0
    interface: str = "lo"

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return len(self.names) == 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Puts the mean over all hosts into each of `tensors`; every host must call it with the same shapes."""
        if self.alone:
            return
        import torch
        from torch import distributed
        from torch.nn.utils import parameters_to_vector, vector_to_parameters

        flat = parameters_to_vector(tensors)
        distributed.all_reduce(flat)
        with torch.no_grad():
            vector_to_parameters(flat / len(self.names), tensors)


ALONE = Hosts()


def read_hosts(folders: Folders) -> Hosts:
    """The hosts that resourceconfig.json names; this one alone where there is no such file."""
    path = folders.base / "input" / "config" / "resourceconfig.json"
    if not path.exists():
        return ALONE
    config = json.loads(path.read_text())
    names = sorted(config["hosts"])
    return Hosts(names, names.index(config["current_host"]), config.get("network_interface_name", "lo"))


@contextmanager
def meeting(hosts: Hosts) -> Iterator[None]:
    """The connection between the hosts, while training lasts."""
    if hosts.alone:
        yield
        return
    from torch import distributed

    os.environ["GLOO_SOCKET_IFNAME"] = hosts.interface
    distributed.init_process_group(
        "gloo",
        init_method=f"tcp://{hosts.names[0]}:{os.environ.get('MASTER_PORT', PORT)}",
        rank=hosts.rank,
        world_size=len(hosts.names),
        timeout=timedelta(seconds=MEETING_SECONDS),
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
