"""Programs run as in a container: a private /opt/ml where the machine allows one, and nothing of them remains."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.sagemaker import programs

NAMESPACES = [
    pytest.param(prefix, id=" ".join(prefix or ("shared",)))
    for prefix in (("unshare", "-m"), ("unshare", "-Urm"), None)
    if prefix is None or programs._can_mount(prefix)
]


@pytest.mark.parametrize("prefix", NAMESPACES)
def test_a_program_finds_its_files_in_opt_ml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: tuple[str, ...] | None
) -> None:
    monkeypatch.setattr(programs, "namespace_prefix", lambda: prefix)
    base = programs.make_folder(tmp_path / "job")
    (base / "given").write_text("given")
    script = "cat /opt/ml/given && test -f $SAGEMAKER_BASE_DIR/given && echo made > /opt/ml/made; exit 3"
    program = programs.start(tmp_path / "job", ["sh", "-c", script], {})
    assert program.wait(20)
    assert (tmp_path / "job" / "log").read_text() == "given"
    assert (base / "made").read_text() == "made\n"
    assert programs.exit_code(tmp_path / "job") == 3


@pytest.mark.parametrize("prefix", NAMESPACES)
def test_nothing_of_a_program_is_seen_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: tuple[str, ...] | None
) -> None:
    monkeypatch.setattr(programs, "namespace_prefix", lambda: prefix)
    before, mounts = sorted(Path("/opt").iterdir()), Path("/proc/self/mounts").read_text()
    programs.make_folder(tmp_path / "job")
    program = programs.start(tmp_path / "job", ["ls", "/opt"], {})
    assert program.wait(20)
    seen = (tmp_path / "job" / "log").read_text().split()
    assert set(seen) >= {path.name for path in before}
    assert sorted(Path("/opt").iterdir()) == before
    assert Path("/proc/self/mounts").read_text() == mounts


def test_a_program_is_found_again_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "job"
    programs.make_folder(folder)
    program = programs.start(folder, ["sleep", "600"], {})
    try:
        assert programs.running(tmp_path / "state")[folder].process.pid == program.process.pid
        assert not programs.running(tmp_path / "other")
    finally:
        program.stop(5)
    assert not programs.running(tmp_path / "state")
