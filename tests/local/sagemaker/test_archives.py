"""What others have packed is unpacked inside its folder or not at all, with or without tarfile's own filters."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from local.sagemaker.archives import unpack


@pytest.fixture(params=[True, False], ids=["with filters", "without"], autouse=True)
def _filters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.delattr(tarfile, "data_filter")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def packed(*members: tarfile.TarInfo) -> tarfile.TarFile:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for item in members:
            tar.addfile(item)
    buffer.seek(0)
    return tarfile.open(fileobj=buffer, mode="r|")


def test_files_folders_and_links_inside_are_unpacked(tmp_path: Path) -> None:
    members = member("a", tarfile.DIRTYPE), member("a/b.txt"), member("a/c", tarfile.SYMTYPE, "b.txt")
    unpack(packed(*members), tmp_path)
    assert (tmp_path / "a" / "c").read_text() == ""
    assert (tmp_path / "a" / "c").is_symlink()


def test_a_file_that_nobody_could_read_is_readable(tmp_path: Path) -> None:
    unpack(packed(member("secret", mode=0)), tmp_path)
    assert (tmp_path / "secret").stat().st_mode & 0o600 == 0o600


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("a/../../out")],
        [member("link", tarfile.SYMTYPE, "../out")],
        [member("link", tarfile.SYMTYPE, "/etc")],
        [member("hard", tarfile.LNKTYPE, "../out")],
        [member("device", tarfile.CHRTYPE)],
        [member("pipe", tarfile.FIFOTYPE)],
    ],
    ids=lambda members: members[0].name,
)
def test_what_leads_out_of_the_folder_or_is_no_file_is_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(tarfile.TarError):
        unpack(packed(*members), folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside"]
    assert not list(folder.iterdir())
