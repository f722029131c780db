from __future__ import annotations

import json
import socket
import struct

import pytest
import requests

from local.source.ledger import read
from local.source.recordings import recorded_fee

FIELDS = [
    *("hash", "ver", "vin_sz", "vout_sz", "size", "weight", "fee", "relayed_by", "lock_time", "tx_index"),
    *("double_spend", "time", "block_index", "block_height", "inputs", "out"),
]


def test_an_answer_has_the_api_s_format_newest_first(served):
    client, _ = served
    transactions = client.transactions()
    times = [transaction["time"] for transaction in transactions]
    assert len(transactions) == 100
    assert times == sorted(times, reverse=True)
    assert all([*transaction][:16] == FIELDS and {*transaction} <= {*FIELDS, "rbf"} for transaction in transactions)


def test_any_query_is_answered_on_a_kept_connection(served):
    client, _ = served
    for query in ("?format=json", "?format=json&cors=true", "", "?limit=5"):
        answer = client.get("/unconfirmed-transactions" + query)
        assert answer.headers.get("Connection") != "close"
        assert len(answer.json()["txs"]) == 100


def test_the_ledger_has_what_was_sent(served):
    client, source = served
    sent = client.transactions()
    client.get("/healthz")
    table = read(source.path)
    assert table.schema.names == ["hash", "time", "fee", "size", "weight"]
    assert table.to_pylist() == [{name: tx[name] for name in table.schema.names} for tx in reversed(sent)]


def test_an_empty_answer_lists_nothing(served):
    client, source = served
    client.control(fault={"kind": "empty", "answers": 1})
    assert client.transactions() == []
    assert source.ledger() == []
    assert len(client.transactions()) == 100


@pytest.mark.parametrize("status", [429, 503])
def test_the_next_answers_are_refused_as_told_and_then_no_more(served, status):
    client, _ = served
    client.control(fault={"kind": str(status), "answers": 2})
    answers = [client.get() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "1"


def test_a_cut_answer_is_not_in_the_ledger(served):
    client, source = served
    client.control(fault={"kind": "cut", "answers": 1})
    with pytest.raises(requests.exceptions.RequestException):
        client.get()
    assert source.ledger() == []


def test_an_answer_that_is_not_json_is_not_in_the_ledger(served):
    client, source = served
    client.control(fault={"kind": "invalid_json", "answers": 1})
    answer = client.get()
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert source.ledger() == []


def test_a_slow_answer_that_comes_whole_is_in_the_ledger(served):
    client, source = served
    client.control(fault={"kind": "slow", "answers": 1, "seconds": 1})
    sent = client.transactions()
    client.get("/healthz")
    assert source.ledger() == [transaction["hash"] for transaction in reversed(sent)]


def test_an_answer_without_fees_is_in_the_ledger_with_what_its_inputs_have_over_its_outputs(served):
    client, source = served
    client.control(fault={"kind": "missing_fee", "answers": 1})
    sent = client.transactions()
    client.get("/healthz")
    assert not any("fee" in transaction for transaction in sent)
    assert read(source.path)["fee"].to_pylist() == [recorded_fee(transaction) for transaction in reversed(sent)]


def test_what_a_skewed_clock_dated_is_listed_again_with_its_true_time(served):
    client, source = served
    client.control(fault={"kind": "clock_skew", "answers": 1})
    skewed = client.transactions()
    assert source.ledger() == []
    true = client.transactions()
    assert [tx["hash"] for tx in skewed] == [tx["hash"] for tx in true]
    assert {a["time"] - b["time"] for a, b in zip(skewed, true, strict=True)} == {86_400}


def test_an_answer_to_a_client_that_hung_up_is_not_in_the_ledger(served):
    client, source = served
    port = int(client.url.rpartition(":")[2])
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", port))
    peer.sendall(b"GET /unconfirmed-transactions?format=json HTTP/1.1\r\nHost: x\r\n\r\n")
    assert peer.recv(100)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    assert source.ledger() == []
    assert client.control()["answered"] == 0


def test_control_says_how_far_the_source_has_come(served):
    client, _ = served
    client.transactions()
    status = client.get("/control").json()
    assert status["event_time"].endswith("Z")
    expected = {"mode": "simulated", "speed": 1.0, "listed": 100, "answered": 1, "until": None, "faults": 0}
    assert {name: status[name] for name in expected} == expected
    assert status["arrived"] == status["listed"] + status["unlisted"]


def test_control_changes_the_speed_without_a_jump(served):
    client, _ = served
    before = client.get("/control").json()["event_time"]
    after = client.control(speed=250)
    assert (after["speed"], after["event_time"]) == (250, before)


def test_control_changes_the_regime(served):
    client, _ = served
    assert client.control(regime={"fees": 3, "volume": 0.5})["regime"] == {"fees": 3.0, "volume": 0.5}


def test_control_holds_event_time_and_lets_it_run_again(served):
    client, source = served
    until = client.get("/control").json()["event_time"]
    assert client.control(until=until)["until"] == until
    source.wall.pass_by(60)
    assert client.get("/control").json()["event_time"] == until
    assert client.control(until=None)["until"] is None
    source.wall.pass_by(60)
    assert client.get("/control").json()["event_time"] > until


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"speed": 0}, "speed"),
        ({"sped": 5}, "sped"),
        ({"regime": {"fees": -1}}, "regime.fees"),
        ({"until": "2024-01-01T00:00:00"}, "until"),
        ({"fault": {"kind": "gremlin", "answers": 1}}, "fault.kind"),
    ],
)
def test_a_wrong_control_is_refused_with_the_field_and_changes_nothing(served, change, field):
    client, _ = served
    before = client.get("/control").json()
    answer = client.session.post(client.url + "/control", data=json.dumps(change), timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(field)
    assert client.get("/control").json() == before


def test_metrics_and_health_are_there(served):
    client, _ = served
    client.transactions()
    assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
    assert "loopcast_source_listed_total 100.0" in client.get("/metrics").text


def test_an_unknown_path_says_where_the_transactions_are(served):
    client, _ = served
    answer = client.get("/latestblock")
    assert answer.status_code == 404
    assert "/unconfirmed-transactions" in answer.json()["error"]
