"""A library of PyTorch's kind works without NVIDIA's: small ones of the same shape are made here by the C compiler."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from install.image.without_cuda import take_out

VERSIONED = "int cublasCreate(void) { return 0; }\n"
PLAIN = "int ncclInit(void) { return 0; }\n"
COUNTS = "int cudaGetDeviceCount(void) { return 100; }\n"
TORCH = """
int cublasCreate(void); int ncclInit(void); int cudaGetDeviceCount(void);
__attribute__((section(".nv_fatbin"))) const char programs[3000000] = {1};
int own(void) { return 7; }
int devices(void) { return cudaGetDeviceCount(); }
int multiply(void) { return cublasCreate(); }
int meet(void) { return ncclInit(); }
"""
ASK = "import ctypes, sys; t = ctypes.CDLL(sys.argv[1]); print(t.own(), t.devices(), t.multiply(), t.meet())"


def compiled(target: Path, source: str, *options: str | Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{target.name}", "-o", str(target), "-x", "c", "-", "-x", "none"]
    subprocess.run([*command, *map(str, options)], input=source, text=True, check=True)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Site packages with a `torch` that links with three libraries of `nvidia`'s."""
    if not all(shutil.which(name) for name in ("gcc", "as", "ld", "nm", "readelf")):
        pytest.skip("there is no C compiler or no binutils")
    nvidia = tmp_path / "nvidia" / "cu13" / "lib"
    (tmp_path / "versions").write_text("libcublas.so.13 { global: *; };\n")
    compiled(nvidia / "libcublas.so.13", VERSIONED, f"-Wl,--version-script={tmp_path / 'versions'}")
    compiled(nvidia / "libnccl.so.2", PLAIN)
    compiled(nvidia / "libcudart.so.13", COUNTS)
    links = [nvidia / name for name in ("libcublas.so.13", "libnccl.so.2", "libcudart.so.13")]
    paths = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../../nvidia/cu13/lib:$ORIGIN"
    compiled(tmp_path / "torch" / "lib" / "libtorch_cuda.so", TORCH, paths, *links)
    return tmp_path


def asked(site: Path) -> str:
    command = [sys.executable, "-c", ASK, str(site / "torch" / "lib" / "libtorch_cuda.so")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_what_ran_without_a_device_runs_on_and_the_rest_fails_with_an_error(site: Path) -> None:
    assert asked(site) == "7 100 0 0"
    assert take_out(site) == ["libcublas.so.13", "libnccl.so.2"]
    assert asked(site) == "7 100 1 1"


def test_the_programs_for_devices_are_gone(site: Path) -> None:
    library = site / "torch" / "lib" / "libtorch_cuda.so"
    before = library.stat().st_size
    take_out(site)
    assert before - library.stat().st_size > 2_900_000
    assert not (site / "nvidia").exists()


def test_a_build_for_the_cpu_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "lib" / "libtorch_cpu.so").write_bytes(b"as it is")
    assert take_out(tmp_path) == []
    assert (tmp_path / "torch" / "lib" / "libtorch_cpu.so").read_bytes() == b"as it is"
