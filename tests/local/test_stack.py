"""The stack's options are checked before anything is started."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.demo import require_hours
from local.parts import Settings
from local.processes import StackError
from local.stack import Stack, add_source_arguments, read_stack, require_same_events, settings_from

HARBOUR = Path(__file__).parents[1] / "flink" / "harbour.yaml"


def settings(*arguments: str, folder: Path = Path("unused"), speed: float = 200.0) -> Settings:
    parser = argparse.ArgumentParser()
    add_source_arguments(parser)
    return settings_from(parser.parse_args(arguments), folder, speed, ("--start", "now"))


def test_a_recording_must_be_named_and_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="needs RECORDING=file"):
        settings("--source", "recording")
    with pytest.raises(StackError, match="is not a file"):
        settings("--source", "recording", "--recording", str(tmp_path / "none"))


def test_options_that_do_not_fit_together_are_refused_before_anything_starts(tmp_path: Path) -> None:
    recording = tmp_path / "answer.json"
    recording.write_text("{}")
    with pytest.raises(StackError, match="RECORDING goes with SOURCE=recording, and SOURCE is simulated"):
        settings("--recording", str(recording))
    with pytest.raises(StackError, match="PORT=65530 is no first port"):
        settings("--port", "65530")


def test_a_feed_of_other_events_has_no_simulator_and_no_recording() -> None:
    with pytest.raises(StackError, match=r"event.id is lift.number, not hash; .*: use SOURCE=live"):
        settings("--feed", str(HARBOUR))
    assert settings("--feed", str(HARBOUR), "--source", "live").feed.name == "harbour-loads"


def test_hours_that_are_too_few_to_judge_a_model_on_are_refused_before_they_pass() -> None:
    feed = settings().feed
    with pytest.raises(StackError, match=r"HOURS=1 is too short: .* set HOURS=4 or more"):
        require_hours(feed, 1.0)
    require_hours(feed, 4.0)


def test_the_live_source_runs_at_real_time_and_is_polled_at_the_feeds_own_url() -> None:
    live = settings("--source", "live")
    assert live.speed == 1.0
    assert "LOOPCAST_SOURCE_URL" not in live.environment
    assert "source" not in [program.name for program in Stack(live).programs]


def test_every_part_has_a_port_of_its_own() -> None:
    ports = [port for program in Stack(settings()).programs for port in program.ports.values()]
    assert len(ports) == len(set(ports)) == 10


def test_the_speed_is_stated_in_one_place_for_all_parts() -> None:
    environments = [program.environment["LOOPCAST_SPEED"] for program in Stack(settings()).programs]
    assert set(environments) == {"200"}


def test_a_later_command_finds_the_stack_as_it_was_started(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    before = Stack(settings("--port", "6000", folder=folder))
    before.remember()
    after = read_stack(folder)
    assert after is not None
    assert after.settings == before.settings


def test_a_stack_that_was_kept_goes_on_with_the_same_events_only(tmp_path: Path) -> None:
    before = Stack(settings(folder=tmp_path))
    require_same_events(None, before.settings)
    require_same_events(before, settings("--port", "6000", folder=tmp_path))
    with pytest.raises(StackError, match=r"was begun with FEED=.* SOURCE=simulated: start it with these, or delete"):
        require_same_events(before, settings("--source", "live", folder=tmp_path))


def test_a_port_that_is_taken_stops_the_start_with_a_clear_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        last_part = taken.getsockname()[1]  # nothing is begun before the last port is known to be free
        chosen = settings("--port", str(last_part - 8), folder=tmp_path / "stack")
        stack = Stack(chosen)
        with pytest.raises(StackError, match=r"is in use: stop what listens there, or set PORT"):
            stack.up(lambda _line: None)
    assert stack.processes.names() == []


@pytest.mark.parametrize("command", [[], ["up"], ["status"], ["down"], ["destroy"], ["watch"]])
def test_every_command_has_help(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.stack", *command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "usage" in done.stdout
