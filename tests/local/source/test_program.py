from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import requests

from local.source import __main__ as program
from local.source.ledger import BadLedger, Ledger, read


@contextmanager
def running(ledger, *options):
    """The program on a free port; yields its address and its process."""
    command = [sys.executable, "-m", "local.source", "--port", "0", "--ledger", str(ledger), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said = json.loads(process.stderr.readline())
        yield f"http://127.0.0.1:{said['port']}", process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What the program says to options that it doesn't take."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["local.source", "--port", "0", *options])
        with pytest.raises(SystemExit) as ended:
            program.main()
        return f"{capsys.readouterr().err}{ended.value}"

    return run


def hashes(url, answers):
    session, found = requests.Session(), []
    for _ in range(answers):
        answer = session.get(f"{url}/unconfirmed-transactions?format=json", timeout=10).json()
        found += [transaction["hash"] for transaction in reversed(answer["txs"]) if transaction["hash"] not in found]
        time.sleep(0.02)
    session.close()
    return found


def test_the_ledger_survives_kill_9_and_the_next_run_goes_on_where_it_ended(tmp_path):
    ledger = tmp_path / "ledger.db"
    with running(ledger, "--speed", "400") as (url, process):
        first = hashes(url, 15)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = read(ledger)["hash"].to_pylist()
    assert kept == first[: len(kept)]
    assert len(first) - len(kept) <= 50
    with running(ledger, "--speed", "400") as (url, _):
        second = hashes(url, 15)
        requests.get(f"{url}/healthz", timeout=10)
    everything = list(dict.fromkeys(first + second))
    assert read(ledger)["hash"].to_pylist()[: len(everything)] == everything
    assert len(everything) > len(first) > 50


def test_a_sigterm_ends_it_cleanly_with_kept_connections_open(tmp_path):
    with running(tmp_path / "ledger.db") as (url, process), requests.Session() as session:
        session.get(f"{url}/unconfirmed-transactions", timeout=10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not (tmp_path / "ledger.db-wal").exists()


def test_event_time_begins_six_and_a_half_hours_before_now_on_a_whole_minute(tmp_path):
    with running(tmp_path / "ledger.db") as (url, _):
        start = requests.get(f"{url}/control", timeout=10).json()["start"]
    begun = time.time() - time.mktime(time.strptime(start, "%Y-%m-%dT%H:%M:%SZ")) + time.timezone
    assert start.endswith(":00Z")
    assert 6.5 * 3600 <= begun < 6.5 * 3600 + 120


def test_a_regime_may_be_planned_for_a_moment_after_the_start(tmp_path):
    options = ["--start", "2024-01-01T10:00Z", "--regime-at", "5s", "--regime", "fees=3,volume=0.5", "--speed", "50"]
    with running(tmp_path / "ledger.db", *options) as (url, _):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            hashes(url, 1)
            status = requests.get(f"{url}/control", timeout=10).json()
            if status["event_time"] >= "2024-01-01T10:00:05":
                break
    assert status["regime"] == {"fees": 3.0, "volume": 0.5}


def test_a_ledger_of_another_seed_is_refused_with_one_sentence(tmp_path, refusal):
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.begin({"mode": "simulated", "start": 1_700_000_040, "seed": 5})
    ledger.close()
    said = refusal("--ledger", str(path), "--seed", "6")
    assert said == f"{path} was begun with seed 5, not 6: give the same again, or another ledger"


def test_a_file_that_is_no_ledger_is_refused_with_one_sentence(tmp_path, refusal):
    (tmp_path / "ledger.db").write_text("something else")
    assert "can't be opened as a ledger" in refusal("--ledger", str(tmp_path / "ledger.db"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--mode", "recording"], "--mode recording and --recording FILE go together"),
        (["--mode", "recording", "--recording", "pyproject.toml"], "neither a parquet file"),
        (["--start", "2099-01-01T00:00Z"], "lies ahead of this machine's clock"),
        (["--start", "2024-01-01T00:00:30Z"], "a whole minute with a time zone"),
        (["--speed", "0"], "the speed lies above 0"),
        (["--regime-at", "4h"], "--regime-at and --regime go together"),
        (["--regime-at", "4h", "--regime", "fees=x"], "a regime is written fees=3,volume=0.5"),
        (["--regime-at", "4", "--regime", "fees=2"], "a duration is a whole number and one of s, m, h, d"),
        (["--page-size", "1"], "a page has at least 2 transactions"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_wrong(tmp_path, refusal, options, sentence):
    assert sentence in refusal("--ledger", str(tmp_path / "ledger.db"), *options)


def test_reading_a_ledger_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(BadLedger, match="there is no ledger at"):
        read(tmp_path / "ledger.db")
