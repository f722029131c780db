"""The root file system of an image: packages, what they depend on, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from install.image.root import build, closure, installed

STATUS = """Package: python3.11
Status: install ok installed
Architecture: amd64
Depends: libc6 (>= 2.4), media | media-types, debconf (>= 0.5) | debconf-2.0

Package: libc6
Status: install ok installed
Architecture: amd64
Depends: libgcc-s1

Package: libgcc-s1
Status: install ok installed
Architecture: amd64

Package: media-types
Status: install ok installed
Architecture: all

Package: debconf
Status: install ok installed
Architecture: all

Package: perl-base
Status: install ok installed
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Architecture: amd64
"""
FILES = {
    "python3.11": [
        "/usr/bin/python3.11",
        "/usr/share/doc/python3.11/copyright",
        "/usr/share/doc/python3.11/changelog.gz",
    ],
    "libc6:amd64": ["/lib/libc.so.6", "/usr/share/man/man7/libc.7.gz"],
    "libgcc-s1:amd64": ["/lib/libgcc_s.so.1"],
    "media-types": ["/etc/mime.types"],
    "debconf": ["/usr/bin/debconf"],
    "perl-base": ["/usr/bin/perl"],
}


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "system"
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(STATUS)
    for folder in ("usr/bin", "usr/lib"):
        (root / folder).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for package, names in FILES.items():
        (info / f"{package}.list").write_text("/.\n" + "\n".join(names) + "\n")
        for name in names:
            path = root / name.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    certificates = root / "etc/ssl/certs/ca-certificates.crt"
    certificates.parent.mkdir(parents=True)
    certificates.write_text("certificates")
    return root


def test_packages_come_with_what_they_depend_on(system: Path) -> None:
    assert closure(installed(system), ["python3.11"]) == ["libc6", "libgcc-s1", "media-types", "python3.11"]


def test_a_package_that_is_not_installed_is_missed(system: Path) -> None:
    with pytest.raises(KeyError, match="gone"):
        closure(installed(system), ["gone"])


def test_the_root_holds_the_packages_files_and_their_licences(system: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    build(system, root, ["python3.11"])
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    assert {"usr/bin/python3.11", "usr/lib/libc.so.6", "usr/share/doc/python3.11/copyright", "etc/mime.types"} <= found
    assert not found & {"usr/bin/perl", "usr/bin/debconf", "usr/share/man/man7/libc.7.gz"}
    assert (root / "lib").is_symlink()


def test_scanners_find_the_list_of_the_packages(system: Path, tmp_path: Path) -> None:
    build(system, tmp_path / "root", ["python3.11"])
    assert sorted(installed(tmp_path / "root")) == ["libc6", "libgcc-s1", "media-types", "python3.11"]


def test_everybody_may_write_to_tmp_and_nowhere_else(system: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    build(system, root, ["python3.11"])
    writable = {
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir() and path.stat().st_mode & 0o002
    }
    assert writable == {"tmp", "var/tmp"}
