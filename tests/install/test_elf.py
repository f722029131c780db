"""Libraries written again without what is not loaded still work; made here by the C compiler, where there is one."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from install.image.elf import loaded, section, segments

SOURCE = """
__attribute__((section(".programs"))) const char programs[100000] = {1};
static __thread int calls = 40;
int counted(void) { return ++calls; }
const char *told(void) { return "still told"; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "library.c").write_text(SOURCE)
    command = ["gcc", "-g", "-shared", "-fPIC", "-o", "library.so", "library.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "library.so"


def works(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    found = ctypes.CDLL(str(path))
    found.told.restype = ctypes.c_char_p
    assert found.counted() == 41
    assert found.told() == b"still told"


def test_a_library_works_without_what_is_not_loaded(library: Path, tmp_path: Path) -> None:
    data = library.read_bytes()
    smaller = loaded(data)
    assert len(smaller) < len(data)
    works(smaller, tmp_path / "smaller.so")


def test_a_library_works_without_the_pages_of_a_section(library: Path, tmp_path: Path) -> None:
    data = library.read_bytes()
    start, end = section(data, ".programs")
    assert end - start == 100_000
    smaller = loaded(data, ".programs")
    assert len(loaded(data)) - len(smaller) > 90_000
    works(smaller, tmp_path / "without.so")


def test_what_is_left_keeps_its_addresses(library: Path) -> None:
    data = library.read_bytes()
    before = {segment.address: segment.in_memory for segment in segments(data) if segment.kind != 4}
    assert {segment.address: segment.in_memory for segment in segments(loaded(data))}.items() >= before.items()


def test_a_section_that_is_not_there_is_refused(library: Path) -> None:
    with pytest.raises(ValueError, match=r"\.nothing can't be taken out"):
        loaded(library.read_bytes(), ".nothing")
