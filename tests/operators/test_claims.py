"""A launch is claimed once, in a real table."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from loopcast.aws import client
from operators.claims import KEPT, LEASE_SECONDS, ClaimTable, run_id, stem
from operators.runs import Run, RunState
from tests.conftest import Service

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@dataclass
class Wall:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def table(aws: Service) -> Iterator[str]:
    name = f"launches-{uuid4().hex[:8]}"
    client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    yield name
    client("dynamodb").delete_table(TableName=name)


def launch(sequence: int = 1) -> Run:
    return Run(sequence, "build", "AlarmStanding", NOON, arguments={"windows": "8"}, tags={"version": "3"}, digest="d")


def test_of_many_who_claim_the_same_launch_one_gets_it(table: str) -> None:
    replicas = [ClaimTable(table, f"replica-{index}", Wall()) for index in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = [run for run in pool.map(lambda claims: claims.claim("fees-retrain", launch()), replicas) if run]
    assert len(won) == 1
    assert [replica.read("fees-retrain")[0].id for replica in replicas] == [won[0].id] * 8


def test_a_claim_is_read_as_it_was_written(table: str) -> None:
    claims = ClaimTable(table, "one", Wall())
    claimed = claims.claim("fees-retrain", launch())
    assert claimed is not None
    running = replace(claimed, state=RunState.RUNNING, handle="h", attempts=2)
    claims.record("fees-retrain", running)
    assert claims.read("fees-retrain") == [running]
    ended = replace(running, state=RunState.FAILED, finished_at=NOON, message="It broke.")
    claims.record("fees-retrain", ended)
    assert claims.read("fees-retrain") == [ended]


def test_a_run_that_is_over_stays_as_it_ended(table: str) -> None:
    claims = ClaimTable(table, "one", Wall())
    claimed = claims.claim("fees-retrain", launch())
    assert claimed is not None
    claims.record("fees-retrain", replace(claimed, state=RunState.SUCCEEDED, finished_at=NOON))
    claims.record("fees-retrain", replace(claimed, state=RunState.RUNNING))
    assert claims.read("fees-retrain")[0].state is RunState.SUCCEEDED


def test_a_claim_is_its_claimers_until_its_lease_has_expired(table: str) -> None:
    wall = Wall()
    one, other = ClaimTable(table, "one", wall), ClaimTable(table, "other", wall)
    claimed = one.claim("fees-retrain", launch())
    assert claimed is not None
    assert [one.read("fees-retrain")[0].free, other.read("fees-retrain")[0].free] == [True, False]
    assert not other.take("fees-retrain", claimed)
    wall.now += LEASE_SECONDS + 1
    assert other.read("fees-retrain")[0].free
    assert other.take("fees-retrain", claimed)
    assert not one.take("fees-retrain", claimed)
    other.record("fees-retrain", replace(claimed, state=RunState.RUNNING))
    assert not other.take("fees-retrain", claimed)


def test_the_newest_launches_are_found_however_many_there_were_also_by_one_who_knows_nothing(table: str) -> None:
    claims = ClaimTable(table, "one", Wall())
    for sequence in range(1, 2 * KEPT + 5):
        claims.claim("fees-retrain", launch(sequence))
    expected = list(range(KEPT + 5, 2 * KEPT + 5))
    assert [run.sequence for run in ClaimTable(table, "new", Wall()).read("fees-retrain")] == expected
    assert [run.sequence for run in claims.read("fees-retrain")] == expected
    assert [run.sequence for run in claims.read("fees-retrain")] == expected
    assert claims.read("harbour-retrain") == []


@pytest.mark.parametrize("policy", ["bitcoin-fees", "a.policy", "Fees--2", "x" * 63, "x" * 62 + "y"])
def test_a_runs_id_is_one_that_pipelines_take(policy: str) -> None:
    made = run_id(f"{stem(policy, 'retrain')}-123456", 1_800_000_000.0)
    assert len(made) <= 40
    assert all((part.isalnum() and part.islower()) or part.isdigit() for part in made.split("-"))


def test_policies_of_long_names_stay_apart_and_ids_differ_by_the_minute() -> None:
    assert stem("x" * 63, "retrain") != stem("x" * 62 + "y", "retrain")
    assert stem("fees", "retrain") != stem("fees", "release")
    assert run_id("fees-retrain-1", 0) != run_id("fees-retrain-1", 60)
