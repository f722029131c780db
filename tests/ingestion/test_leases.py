"""Any number of readers share a stream's shards, and every shard is read, each by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.leases import SHARD_END, Lease, LeaseTable, Shard, Watch, readable, to_take
from tests.ingestion.conftest import World

DURATION = 10.0


class Readers:
    """Readers with a table of leases that only they write, by conditions as LeaseTable does; time goes in steps."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards = shards
        self.leases: dict[str, Lease] = {}
        self.watches: dict[str, Watch] = {}
        self.now = 0.0

    def step(self, *names: str) -> int:
        """One round of each of the readers, in this order; returns how many leases changed hands."""
        taken = 0
        self.now += DURATION / 4
        for me in names:
            self._renew(me)
            expired = self.watches.setdefault(me, Watch(DURATION)).expired(list(self.leases.values()), self.now)
            for shard in to_take(me, readable(self.shards, self.leases), self.leases, expired):
                self._own(shard, me)
                taken += 1
        return taken

    def finish(self, shard: str) -> None:
        self.leases[shard] = replace(self.leases[shard], position=SHARD_END, owner=None)

    def held(self) -> Counter[str]:
        return Counter(lease.owner for lease in self.leases.values() if lease.owner)

    def _own(self, shard: str, me: str) -> None:
        before = self.leases.get(shard, Lease(shard))
        self.leases[shard] = replace(before, owner=me, counter=before.counter + 1)

    def _renew(self, me: str) -> None:
        for shard, lease in self.leases.items():
            if lease.owner == me:
                self._own(shard, me)


def shards(count: int) -> list[Shard]:
    return [Shard(f"shard-{number:02d}") for number in range(count)]


@given(count=st.integers(1, 20), arrivals=st.lists(st.integers(0, 4), min_size=1, max_size=6, unique=True))
def test_readers_that_come_one_by_one_end_with_equal_shares(count: int, arrivals: list[int]) -> None:
    readers, names = Readers(shards(count)), []
    for arrival in arrivals:
        names.append(f"reader-{arrival}")
        for _ in range(2 * count + 2):
            readers.step(*names)
    held = [readers.held()[name] for name in names]
    assert sum(held) == count
    assert max(held) - min(held) <= 1
    assert readers.step(*names) == 0  # and then nothing goes to and fro


@given(count=st.integers(1, 10), alive=st.integers(1, 3))
def test_the_shards_of_a_reader_that_died_are_taken_over(count: int, alive: int) -> None:
    names = [f"reader-{number}" for number in range(alive + 1)]
    readers = Readers(shards(count))
    for _ in range(2 * count + 2):
        readers.step(*names)
    for _ in range(2 * count + 8):
        readers.step(*names[1:])
    assert readers.held()[names[0]] == 0
    assert sum(readers.held().values()) == count


def test_a_reader_that_lives_keeps_its_shard() -> None:
    readers = Readers(shards(1))
    for _ in range(50):
        readers.step("first", "second")
    assert readers.held() == {"first": 1}


def test_a_lease_expires_only_after_it_stood_still_for_its_duration() -> None:
    watch = Watch(DURATION)
    assert watch.expired([Lease("a", "x", 1)], now=100) == set()
    assert watch.expired([Lease("a", "x", 1)], now=109) == set()
    assert watch.expired([Lease("a", "x", 1)], now=110) == {"a"}
    assert watch.expired([Lease("a", "x", 2)], now=111) == set()


@st.composite
def histories(draw: st.DrawFn) -> list[Shard]:
    """A stream after some splits and merges, as ListShards tells it; its oldest shards may be gone."""
    found = shards(draw(st.integers(1, 4)))
    open_shards = list(found)
    for number in range(draw(st.integers(0, 5))):
        many = 2 if len(open_shards) > 1 and draw(st.booleans()) else 1
        parents = [open_shards.pop(draw(st.integers(0, len(open_shards) - 1))) for _ in range(many)]
        children = [Shard(f"child-{number}-{half}", tuple(parent.id for parent in parents)) for half in range(3 - many)]
        found += children
        open_shards += children
    return found[draw(st.integers(0, min(2, len(found) - 1))) :]


@given(history=histories(), readers=st.integers(1, 3))
@settings(max_examples=60)
def test_every_shard_is_read_after_its_parents(history: list[Shard], readers: int) -> None:
    world, names = Readers(history), [f"reader-{number}" for number in range(readers)]
    parents = {shard.id: [parent for parent in shard.parents if parent in {s.id for s in history}] for shard in history}
    finished: set[str] = set()
    for _ in range(20 * len(history)):
        world.step(*names)
        held = [shard for shard, lease in world.leases.items() if lease.owner]
        assert all(set(parents[shard]) <= finished for shard in held)
        if held:
            world.finish(min(held))
            finished.add(min(held))
    assert finished == {shard.id for shard in history}


def test_a_lease_is_taken_by_one_and_lost_when_another_takes_it(world: World) -> None:
    first, second = (LeaseTable(world.names.positions_table, "stream", name) for name in ("first", "second"))
    lease = first.take("shard", None)
    assert lease == Lease("shard", "first", 1)
    assert second.take("shard", None) is None
    assert first.checkpoint("shard", "17")
    assert second.take("shard", lease) is None  # the first one has shown life since
    known = second.read(["shard", "unknown"])
    assert second.take("shard", known["shard"]) == Lease("shard", "second", 3, "17")
    assert not first.renew("shard")
    assert not first.checkpoint("shard", "18")
    first.release("shard")
    assert second.read(["shard"])["shard"] == Lease("shard", "second", 3, "17")
    second.release("shard")
    assert second.read(["shard"])["shard"] == Lease("shard", None, 4, "17")


def test_streams_in_one_table_keep_apart(world: World) -> None:
    tables = [LeaseTable(world.names.positions_table, stream, "me") for stream in ("minutes", "late")]
    assert all(table.take("shard", None) for table in tables)
