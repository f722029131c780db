"""Unpacks tar files of others. Debian's Python 3.11.2 lacks tarfile's own filters, which came with 3.11.4."""

from __future__ import annotations

import posixpath
import tarfile
from pathlib import Path


def unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpacks all into `folder`. Raises `tarfile.TarError` at what would lie or lead outside it, or is no file."""
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, filter="data")
        return
    for member in tar:
        _check(member, folder)
        member.uid, member.gid, member.uname, member.gname = 0, 0, "", ""
        member.mode = (member.mode | 0o600 | (0o100 if member.isdir() else 0)) & 0o755
        tar.extract(member, folder)


def _check(member: tarfile.TarInfo, folder: Path) -> None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise tarfile.ExtractError(f"{member.name} is neither a file nor a folder")
    places = [member.name]
    if member.issym():
        places.append(posixpath.join(posixpath.dirname(member.name), member.linkname))
    elif member.islnk():
        places.append(member.linkname)
    if not (folder / member.name).parent.resolve().is_relative_to(folder.resolve()):
        raise tarfile.ExtractError(f"{member.name} leads out of its folder")
    for place in places:
        if posixpath.isabs(place) or posixpath.normpath(place).split("/")[0] == "..":
            raise tarfile.ExtractError(f"{member.name} leads out of its folder")
