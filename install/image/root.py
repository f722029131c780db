"""`root FOLDER PACKAGE...`: a root file system of installed Debian packages and what they depend on, and no more.

It runs in the build of an image, with the standard library alone. A base image holds what nobody runs in a container: a
package manager, Perl, bash, manuals, translations. What is left out here are these, and packages that serve the
installation only. Licences stay, and so does dpkg's list of the packages, by which scanners know what is there.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

DPKG = Path("var/lib/dpkg")
INSTALLATION_ONLY = {"debconf", "debconf-2.0", "dpkg", "perl-base", "tar", "install-info", "init-system-helpers"}
OBSOLETE = {"libnsl2", "libtirpc3"}
"""For Python's module `nis` alone, with Kerberos behind it."""
NOT_RUN = re.compile(r"/usr/share/(man|locale|info|lintian|bash-completion|applications|pixmaps|menu|gcc|gdb)(/|$)")
DOCUMENTATION = "/usr/share/doc/"
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Debian 12 keeps these under /usr; packages may still name files by the old places."""

FOLDERS = ("app", "dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "var/tmp", "opt/ml")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\nloopcast:x:65532:65532:loopcast:/tmp:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nloopcast:x:65532:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


def installed(system: Path) -> dict[str, dict[str, str]]:
    """dpkg's list of installed packages: each one's fields by their names, and under "" the whole paragraph."""
    packages = {}
    for paragraph in (system / DPKG / "status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            packages[fields["Package"]] = {**fields, "": paragraph.strip()}
    return packages


def closure(packages: dict[str, dict[str, str]], wanted: list[str]) -> list[str]:
    """The names of `wanted` and of all that they depend on, sorted. Raises `KeyError` for one that is not installed."""
    providers = {
        name.split(" ")[0]: package
        for package, fields in packages.items()
        for name in re.split(r", *", fields.get("Provides", ""))
    }
    found: set[str] = set()
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        fields = packages[name]
        found.add(name)
        for dependency in re.split(r", *", f"{fields.get('Pre-Depends', '')}, {fields.get('Depends', '')}"):
            alternatives = [re.split(r"[ :(]", choice.strip())[0] for choice in dependency.split("|")]
            known = [providers.get(choice, choice) for choice in alternatives if choice]
            todo += [choice for choice in known if choice in packages and choice not in INSTALLATION_ONLY | OBSOLETE][
                :1
            ]
    return sorted(found)


def files(system: Path, package: str, fields: dict[str, str]) -> Iterator[str]:
    """The absolute paths that the package brought, without what nobody reads in a container."""
    for stem in (package, f"{package}:{fields['Architecture']}"):
        listing = system / DPKG / "info" / f"{stem}.list"
        if listing.exists():
            for path in listing.read_text().splitlines():
                if path.startswith(DOCUMENTATION) and not path.endswith("/copyright"):
                    continue
                if not NOT_RUN.match(path):
                    yield path


def place(path: str) -> Path:
    """`path` relative to a root, under /usr where Debian 12 has merged it."""
    relative = Path(path).relative_to("/")
    return Path("usr") / relative if relative.parts and relative.parts[0] in MERGED else relative


def copy(system: Path, root: Path, path: str) -> None:
    """Copies a file or a symbolic link with its mode and time; folders come with their files."""
    source, target = system / place(path), root / place(path)
    if (source.is_dir() and not source.is_symlink()) or not (source.exists() or source.is_symlink()):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def skeleton(root: Path) -> None:
    """The folders, links and small files that every root has."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in MERGED[:3]:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    if Path("/usr/lib64").is_dir():
        (root / "usr/lib64").mkdir(exist_ok=True)
        (root / "lib64").symlink_to("usr/lib64")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "var/tmp").chmod(0o1777)
    for name, text in FILES.items():
        (root / name).write_text(text)


def build(system: Path, root: Path, wanted: list[str]) -> list[str]:
    """Lays the root file system out in the folder `root` and gives the names of the packages in it."""
    packages = installed(system)
    names = closure(packages, wanted)
    skeleton(root)
    for name in names:
        for path in files(system, name, packages[name]):
            copy(system, root, path)
    (root / DPKG / "info").mkdir(parents=True)
    (root / DPKG / "status").write_text("\n\n".join(packages[name][""] for name in names) + "\n")
    (root / CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(system / CERTIFICATES, root / CERTIFICATES)
    return names


if __name__ == "__main__":
    os.umask(0o022)
    print(*build(Path("/"), Path(sys.argv[1]), sys.argv[2:]))
