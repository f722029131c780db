"""Which checkpoint a job goes on from."""

from __future__ import annotations

import re

import pytest

from flink.checkpoints import job_id, newest
from loopcast.aws import client
from tests.conftest import Service

BUCKET = "flink-checkpoints-test"
PREFIX = f"s3://{BUCKET}/checkpoints/"


@pytest.fixture(scope="module", autouse=True)
def _bucket(aws: Service) -> None:
    client("s3").create_bucket(Bucket=BUCKET)


def put(*keys: str) -> None:
    for key in keys:
        client("s3").put_object(Bucket=BUCKET, Key=f"checkpoints/{key}", Body=b"state")


def test_a_job_that_never_ran_has_none() -> None:
    assert newest(PREFIX, job_id("never-ran")) is None


def test_the_newest_is_the_one_with_the_highest_number() -> None:
    put("a/chk-9/_metadata", "a/chk-10/_metadata", "a/chk-2/_metadata")
    assert newest(PREFIX, "a") == f"{PREFIX}a/chk-10"


def test_one_that_was_never_finished_is_left_out() -> None:
    put("b/chk-1/_metadata", "b/chk-2/5f48f3ea", "b/chk-2/_metadata/part")
    assert newest(PREFIX, "b") == f"{PREFIX}b/chk-1"


def test_another_feeds_checkpoints_are_left_alone() -> None:
    put(f"{job_id('one')}/chk-3/_metadata", f"{job_id('other')}/chk-8/_metadata")
    assert newest(PREFIX, job_id("one")) == f"{PREFIX}{job_id('one')}/chk-3"


def test_a_feeds_job_has_the_same_id_in_every_start() -> None:
    assert job_id("bitcoin-fees") == job_id("bitcoin-fees") != job_id("harbour-loads")
    assert re.fullmatch(r"[0-9a-f]{32}", job_id("bitcoin-fees"))
