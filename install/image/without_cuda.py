"""`without_cuda SITE_PACKAGES`: takes NVIDIA's part out of PyTorch, 5 GB that a machine without its device never runs.

PyTorch's package for Linux on the public index is built for NVIDIA's devices. It links with a dozen of NVIDIA's
libraries, so that none of them can be left out: the loader asks for the files and for the symbols. It never calls them,
though: without a driver CUDA counts no device, and nothing after that is reached. So small libraries of the same names
and symbols stand in for them, in which every function fails; what counts devices (libcudart) is the real one. And the
programs for the devices are taken out of `libtorch_cuda.so`. PyTorch's own code stays what was locked, all of it.

Nothing is done where PyTorch is a build for the CPU alone. It needs binutils and runs in the build of an image.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from install.image.elf import rewrite

DEVICE = "libtorch_cuda.so"
DRIVER_USER = "libcaffe2_nvrtc.so"
"""Loaded to compile for a device. It goes: a stand-in for the driver that it links with would be asked for devices."""
DEVICE_PROGRAMS = ".nv_fatbin"
KEPT = {"libcudart.so", "libcupti.so"}
"""NVIDIA's libraries that are called without a device as well: how many there are, and by the profiler."""
FAIL = {"x86_64": "mov $1, %eax\n ret", "aarch64": "mov w0, #1\n ret"}
"""An error's number, in each of NVIDIA's libraries."""


@dataclass(frozen=True, order=True)
class Symbol:
    """A symbol that a library asks for or defines; `version` may be empty."""

    name: str
    version: str = ""
    weak: bool = False


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed(library: Path) -> set[str]:
    """The file names of the libraries that this one links with."""
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", str(library))))


def symbols(library: Path, which: str) -> Iterator[Symbol]:
    """The dynamic symbols that `library` defines (`--defined-only`) or asks for (`--undefined-only`)."""
    for line in output("nm", "-D", which, str(library)).splitlines():
        *_, kind, name = line.split()
        name, _, version = name.partition("@")
        yield Symbol(name, version.lstrip("@"), kind in "wv")


def assembly(functions: list[str], machine: str) -> str:
    """A source for the assembler that defines each of `functions` as one that fails."""
    lines = [f".globl {name}\n.type {name}, %function\n{name}:\n {FAIL[machine]}" for name in functions]
    return "\n".join([".text", *lines, '.section .note.GNU-stack,"",%progbits', ""])


def stand_in(target: Path, functions: list[str], version: str, machine: str) -> None:
    """Writes the shared library `target` that defines `functions`, under `version` unless that is empty."""
    with tempfile.TemporaryDirectory() as folder:
        source, unit, versions = (Path(folder, name) for name in ("stand_in.s", "stand_in.o", "versions"))
        source.write_text(assembly(functions, machine))
        subprocess.run(["as", "-o", unit, source], check=True)
        versions.write_text(f"{version} {{ global: *; }};\n")
        options = [f"--version-script={versions}"] if version else []
        subprocess.run(["ld", "-shared", "-soname", target.name, *options, "-o", target, unit], check=True)


def take_out(site: Path) -> list[str]:
    """Takes NVIDIA's part out of the packages in `site`; the names of the libraries that have stand-ins now."""
    folder = site / "torch" / "lib"
    if not (folder / DEVICE).exists():
        return []
    _keep(site / "nvidia", folder)
    (folder / DRIVER_USER).unlink(missing_ok=True)
    libraries = list(folder.glob("*.so*"))
    absent = sorted(set[str]().union(*map(needed, libraries)) - {path.name for path in libraries} - _of_the_system())
    for name, (functions, version) in _shared_out(libraries, absent).items():
        stand_in(folder / name, functions, version, platform.machine())
    for library in libraries:
        if library.stat().st_size > 1_000_000:
            rewrite(library, DEVICE_PROGRAMS if library.name == DEVICE else "")
    return absent


def _keep(nvidia: Path, folder: Path) -> None:
    """Moves the few libraries of NVIDIA's that stay beside PyTorch's own, where the loader looks as well."""
    for path in list(nvidia.rglob("*.so*")):
        if path.name.partition(".so")[0] + ".so" in KEPT:
            path.rename(folder / path.name)
    shutil.rmtree(nvidia, ignore_errors=True)


def _of_the_system() -> set[str]:
    return {Path(path).name for path in re.findall(r"=> (\S+)", output("/sbin/ldconfig", "-p"))}


def _shared_out(libraries: list[Path], absent: list[str]) -> dict[str, tuple[list[str], str]]:
    """Which functions each absent library must define, and under which version, if any.

    The loader looks for symbols without a version in all libraries, so that one may hold them.
    """
    asked = {found for library in libraries for found in symbols(library, "--undefined-only") if not found.weak}
    defined = {found.name for library in libraries for found in symbols(library, "--defined-only")}
    versions: dict[str, str] = {}
    for library in libraries:
        versions |= _versions(library)
    others = sorted(s.name for s in asked if not s.version and s.name not in defined and not s.name.startswith("Py"))
    plain = next(name for name in absent if name not in versions)
    shared = {
        name: (sorted(s.name for s in asked if s.version == version), version) for name, version in versions.items()
    }
    return {name: shared.get(name, (others if name == plain else [], "")) for name in absent}


def _versions(library: Path) -> dict[str, str]:
    """The version that `library` asks for of each library that it links with."""
    text = output("readelf", "-VW", str(library))
    return dict(re.findall(r"File: (\S+)\s+Cnt: 1\n[^\n]*Name: (\S+)", text))


if __name__ == "__main__":
    print("stand-ins:", *take_out(Path(sys.argv[1])) or ["none"])
