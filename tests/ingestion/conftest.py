"""A feed of its own for each test, with its AWS resources on a real local AWS."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingestion.dead_letters import DeadLetter, parse_dead_letter
from ingestion.stream import list_shards
from loopcast import aws as aws_clients
from loopcast.clock import Clock
from loopcast.event import normalize
from loopcast.feed import load_feed
from loopcast.minute import feature_definitions
from loopcast.names import Names
from loopcast.service import Part, Stop
from tests.conftest import Service, kill

ROOT = Path(__file__).parents[2]
ACCOUNT = "000000000000"
VISIBILITY_TIMEOUT = 20
_numbers = itertools.count()
T = TypeVar("T")


def transaction(number: int, **changes: Any) -> dict[str, Any]:
    """An item of the source's answer; without a fee where `fee` is ... ."""
    whole = {
        "hash": f"{number:064x}",
        "time": 1_700_000_000 + number // 10,
        "fee": 1000 + number,
        "weight": 560,
        "inputs": [{"prev_out": {"value": 5000 + number}}],
        "out": [{"value": 4000}],
    }
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def ids(numbers: Sequence[int] | range) -> set[str]:
    return {transaction(number)["hash"] for number in numbers}


@dataclass
class World:
    """A feed, its resources, and how a test looks into them."""

    feed_path: Path
    folder: Path
    env: dict[str, str]
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.feed = load_feed(self.feed_path)
        self.names = Names(self.feed.name, ACCOUNT)

    def part(self, name: str, **settings: Any) -> Part:
        return Part(name, self.feed, self.names, settings.pop("clock", Clock()), Stop(grace=1.0), **settings)

    def event(self, number: int, **changes: Any) -> bytes:
        raw = transaction(number, **changes)
        return normalize(self.feed, raw, now_ms=raw["time"] * 1000).to_json()

    def enqueue(self, *bodies: str) -> None:
        queue = self._queue(self.names.queue)
        for body in bodies:
            aws_clients.client("sqs").send_message(QueueUrl=queue, MessageBody=body)

    def message(self, *events: bytes) -> str:
        return json.dumps(
            {"source": "x", "detail": {"feed": self.feed.name, "events": [json.loads(event) for event in events]}}
        )

    def hide_received_for(self, seconds: int) -> None:
        """How long a message that was received and not acknowledged stays away."""
        aws_clients.client("sqs").set_queue_attributes(
            QueueUrl=self._queue(self.names.queue), Attributes={"VisibilityTimeout": str(seconds)}
        )

    def queued(self) -> list[dict[str, Any]]:
        """Every event in the ingest queue's messages, which are taken from it."""
        return [event for body in self._drain(self.names.queue) for event in json.loads(body)["detail"]["events"]]

    def queue_is_empty(self) -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = aws_clients.client("sqs").get_queue_attributes(
            QueueUrl=self._queue(self.names.queue), AttributeNames=names
        )
        return all(answer["Attributes"][name] == "0" for name in names)

    def dead_letters(self) -> list[DeadLetter]:
        """The dead letters, which are taken from the queue."""
        return [parse_dead_letter(body) for body in self._drain(self.names.dead_letter_queue)]

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Every record of the stream, shard by shard."""
        return [json.loads(data) for shard in list_shards(stream) for data in _read_shard(stream, shard.id)]

    def put_records(self, stream: str, *documents: object) -> None:
        for document in documents:
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            key = document.get("series_id", "x") if isinstance(document, dict) else "x"
            aws_clients.client("kinesis").put_record(StreamName=stream, Data=data, PartitionKey=key)

    def start(self, part: str, *flags: str, **env: str) -> Program:
        """Starts `python -m ingestion.<part>`; it is killed at the test's end."""
        program = Program(part, flags, {**self.env, **env}, self.folder / f"{part}-{len(self.programs)}.log")
        self.programs.append(program)
        return program

    def _queue(self, name: str) -> str:
        return str(aws_clients.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    def _drain(self, name: str) -> list[str]:
        sqs, url, bodies = aws_clients.client("sqs"), self._queue(name), []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies


class Program:
    """A running program of the ingestion room."""

    def __init__(self, part: str, flags: Sequence[str], env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            command = [sys.executable, "-m", f"ingestion.{part}", "--http-port", "0", *flags]
            self.process = subprocess.Popen(command, env=env, stderr=output, cwd=ROOT, start_new_session=True)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def url(self, path: str) -> str:
        started = until(lambda: [line for line in self.log() if line["message"] == "started"])
        return f"http://127.0.0.1:{started[0]['http_port']}{path}"

    def metrics(self) -> dict[str, float]:
        """The metrics by name, those of all labels together."""
        with urllib.request.urlopen(self.url("/metrics"), timeout=5) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found: dict[str, float] = {}
        for sample in (sample for family in families for sample in family.samples):
            found[sample.name] = found.get(sample.name, 0) + sample.value
        return found

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)


@pytest.fixture
def bare(aws: Service, tmp_path: Path) -> Iterator[World]:
    """A feed that has no resources as yet."""
    feed_path = tmp_path / "feed.yaml"
    name = f"feed-{os.getpid()}-{next(_numbers)}"
    text = (ROOT / "feeds" / "bitcoin-fees.yaml").read_text()
    feed_path.write_text(text.replace("name: bitcoin-fees", f"name: {name}"))
    world = World(feed_path, tmp_path, {**aws.env, "LOOPCAST_FEED": str(feed_path)})
    yield world
    for program in world.programs:
        kill(program.process)


@pytest.fixture
def world(bare: World) -> World:
    create_resources(bare.names)
    return bare


@pytest.fixture
def features(world: World, sagemaker: Service) -> World:
    """`world` with its feature group."""
    create_feature_group(world, sagemaker)
    return world


def create_feature_group(world: World, sagemaker: Service) -> None:
    world.env.update({name: value for name, value in sagemaker.env.items() if name.startswith("AWS_")})
    client = aws_clients.client("sagemaker")
    client.create_feature_group(
        FeatureGroupName=world.names.feature_group,
        RecordIdentifierFeatureName="record_id",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=feature_definitions(world.feed),
        OnlineStoreConfig={"EnableOnlineStore": True},
        RoleArn=world.names.role_arn("feature-store"),
    )
    group = {"FeatureGroupName": world.names.feature_group}
    until(lambda: client.describe_feature_group(**group)["FeatureGroupStatus"] == "Created")


def until(condition: Callable[[], T], seconds: float = 30) -> T:
    """What `condition` returns once it is true; fails when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return found


def create_resources(names: Names) -> None:
    client = aws_clients.client
    client("s3").create_bucket(Bucket=names.bucket)
    for queue in (names.queue, names.dead_letter_queue):
        client("sqs").create_queue(QueueName=queue, Attributes={"VisibilityTimeout": str(VISIBILITY_TIMEOUT)})
    client("events").create_event_bus(Name=names.bus)
    pattern = {"source": [names.event_source], "detail-type": [names.event_detail_type]}
    client("events").put_rule(Name=names.rule, EventBusName=names.bus, EventPattern=json.dumps(pattern))
    target = {"Id": "ingest", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{names.queue}"}
    client("events").put_targets(Rule=names.rule, EventBusName=names.bus, Targets=[target])
    for table, key in ((names.seen_table, "id"), (names.positions_table, "shard")):
        client("dynamodb").create_table(
            TableName=table,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    for stream in (names.events_stream, names.minutes_stream, names.late_stream):
        client("kinesis").create_stream(StreamName=stream, ShardCount=2)


def _read_shard(stream: str, shard: str) -> list[bytes]:
    kinesis = aws_clients.client("kinesis")
    start = {"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**start)["ShardIterator"]
    found: list[bytes] = []
    while True:
        answer = kinesis.get_records(ShardIterator=iterator)
        if not answer["Records"] and not answer["MillisBehindLatest"]:
            return found
        found += [record["Data"] for record in answer["Records"]]
        iterator = answer["NextShardIterator"]
