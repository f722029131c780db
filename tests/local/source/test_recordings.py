from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.source.arrivals import Arrivals
from local.source.generators import SLOT_SECONDS, RecordedLevels, RecordedTransactions
from local.source.recordings import Answer, BadRecording, Levels, read_recording
from local.source.regime import Regime, Timeline
from tests.local.source.conftest import SEED, START

FIRST = START - 10 * 86400
COUNTS = [3000.0, 1500.0, 67.0, 4001.0, 2222.0, 3100.0, 2900.0, 10.0, 3000.0, 2500.0]
AVERAGES = [1500.25, 900.5, 29298.1, 1400.75, 1333.3, 1100.0, 1250.0, 4000.0, 217.8, 1000.0]


def transaction(number, fee, **changes):
    document = {
        "hash": f"{number:064x}",
        "time": 1729081882 + number,
        "size": 200 + number,
        "weight": 600 + number,
        "fee": fee,
        "inputs": [{"script": "100%", "prev_out": {"value": 5000 + fee}}],
        "out": [{"value": 5000}],
    }
    return {name: value for name, value in (document | changes).items() if value is not None}


@pytest.fixture
def parquet(tmp_path):
    columns = {
        "timestamp": [FIRST + SLOT_SECONDS * n for n in range(len(COUNTS))],
        "mempool_blocks_nTx": COUNTS,
        "mempool_blocks_totalFees": [c * a for c, a in zip(COUNTS, AVERAGES, strict=True)],
        "unused": ["x"] * len(COUNTS),
    }
    pq.write_table(pa.table(columns), tmp_path / "levels.parquet")
    return tmp_path / "levels.parquet"


@pytest.fixture
def saved_answer(tmp_path):
    def save(*transactions):
        path = tmp_path / "answer.json"
        path.write_text(json.dumps({"txs": transactions}))
        return path

    return save


def test_a_parquet_recording_is_followed_in_counts_and_average_fees(parquet, calibration):
    generator = RecordedLevels(read_recording(parquet), calibration, START, SEED)
    arrivals = Arrivals(generator, START, SEED, Timeline())
    for slot, (count, average) in enumerate(zip(COUNTS, AVERAGES, strict=True)):
        fees = [arrival.fee for arrival in arrivals.slot(slot)]
        assert len(fees) == round(count / 10 * 5)
        assert np.mean(fees) == pytest.approx(average, abs=0.5 / len(fees) + 1e-9)


def test_each_minute_has_a_tenth_of_the_next_block(parquet, calibration):
    generator = RecordedLevels(read_recording(parquet), calibration, START, SEED)
    found = Counter((a.time - START) // 60 for a in Arrivals(generator, START, SEED, Timeline()).slot(0))
    assert found == dict.fromkeys(range(5), 300)


def test_a_regime_multiplies_what_was_recorded(parquet, calibration):
    generator = RecordedLevels(read_recording(parquet), calibration, START, SEED)
    draw = generator.draw(0, Regime(fees=3, volume=0.5), np.random.default_rng(0))
    assert len(draw.fees) == 750
    assert draw.fees.mean() == pytest.approx(3 * AVERAGES[0], abs=0.001)


def test_a_recording_is_followed_from_the_start_s_time_of_day_on_and_again_after_its_end(parquet, calibration):
    levels = read_recording(parquet)
    generator = RecordedLevels(levels, calibration, START + 3 * SLOT_SECONDS, SEED)
    assert [generator.snapshot(slot) for slot in range(9)] == [3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert generator.recorded_time(0) == FIRST + 3 * SLOT_SECONDS


def test_a_start_at_a_time_of_day_that_was_not_recorded_begins_with_the_first_snapshot(parquet, calibration):
    generator = RecordedLevels(read_recording(parquet), calibration, START + 43200, SEED)
    assert generator.snapshot(0) == 0


def test_snapshots_with_gaps_in_them_are_left_out(tmp_path):
    columns = {
        "timestamp": [300, 0, 600],
        "mempool_blocks_nTx": [10.0, 20.0, None],
        "mempool_blocks_totalFees": [100.0, 600.0, 1.0],
    }
    pq.write_table(pa.table(columns), tmp_path / "levels.parquet")
    levels = read_recording(tmp_path / "levels.parquet")
    assert isinstance(levels, Levels)
    assert (levels.times.tolist(), levels.counts.tolist(), levels.fees.tolist()) == ([0, 300], [20, 10], [30, 10])


def test_a_saved_answer_is_listed_again_and_again_with_fresh_hashes_and_times(saved_answer, calibration):
    recorded = [transaction(1, 700, note="@keep% me"), transaction(2, 900), transaction(3, 1100)]
    generator = RecordedTransactions(read_recording(saved_answer(*recorded)), calibration, START, SEED)
    arrivals = Arrivals(generator, START, SEED, Timeline())
    found = [(arrival, json.loads(arrivals.render(arrival))) for arrival in arrivals.slot(0)]
    bodies = Counter(json.dumps(document | {"hash": "", "time": 0}) for _, document in found)
    assert set(bodies) == {json.dumps(document | {"hash": "", "time": 0}) for document in recorded}
    assert len({document["hash"] for _, document in found}) == len(found) > len(recorded)
    for arrival, document in found:
        assert document["time"] == arrival.time >= START
        assert (document["fee"], document["size"], document["weight"]) == (arrival.fee, arrival.size, arrival.weight)


def test_a_regime_raises_the_fees_of_a_saved_answer_and_what_its_inputs_spend(saved_answer, calibration):
    generator = RecordedTransactions(read_recording(saved_answer(transaction(1, 700))), calibration, START, SEED)
    arrivals = Arrivals(generator, START, SEED, Timeline([(0, Regime(fees=3))]))
    document = json.loads(arrivals.render(arrivals.slot(0)[0]))
    assert document["fee"] == document["inputs"][0]["prev_out"]["value"] - 5000 == 2100


def test_old_answers_without_a_fee_keep_what_inputs_have_over_outputs(saved_answer):
    old = transaction(1, 700) | {"fee": None}
    coinbase = transaction(2, 900, inputs=[{"script": "", "prev_out": None}]) | {"fee": None}
    recorded = read_recording(saved_answer(old, coinbase, transaction(3, 5)))
    assert isinstance(recorded, Answer)
    assert recorded.fees == [700, 5]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"{}", b"[]", b'{"txs": []}', b'{"txs": [1]}', b'{"txs": [{"hash": "a"}]}', b"\xff\x00"]
)
def test_a_file_of_neither_kind_is_one_clear_sentence(tmp_path, content):
    path = tmp_path / "recording"
    path.write_bytes(content)
    with pytest.raises(BadRecording, match=r"neither a parquet file with the columns timestamp, .* nor a saved JSON"):
        read_recording(path)


def test_a_parquet_file_of_other_columns_is_one_clear_sentence(tmp_path):
    pq.write_table(pa.table({"timestamp": [1]}), tmp_path / "other.parquet")
    with pytest.raises(BadRecording, match="mempool_blocks_nTx"):
        read_recording(tmp_path / "other.parquet")


def test_a_missing_file_is_one_clear_sentence(tmp_path):
    with pytest.raises(BadRecording, match="can't be read: No such file"):
        read_recording(tmp_path / "nothing.parquet")
