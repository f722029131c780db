from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applier.kinds import kind_named
from applier.manifest import ManifestError
from applier.resources import Resource, in_order


def resource(number: int, after: frozenset[int]) -> Resource:
    return Resource(
        kind=kind_named("Stream"),
        identity=("Stream", str(number)),
        spec={"StreamName": str(number)},
        after=frozenset(("Stream", str(other)) for other in after),
        where=f"streams.yaml:{number}",
        lines={},
    )


@st.composite
def acyclic(draw: st.DrawFn) -> list[Resource]:
    """Resources in any order, each after some with a lower number."""
    size = draw(st.integers(1, 12))
    resources = [
        resource(number, draw(st.frozensets(st.integers(0, number - 1)) if number else st.just(frozenset())))
        for number in range(size)
    ]
    return draw(st.permutations(resources))


@given(acyclic())
def test_each_resource_comes_after_those_it_depends_on(resources: list[Resource]) -> None:
    ordered = in_order(resources)

    place = {item.identity: index for index, item in enumerate(ordered)}
    assert sorted(place) == sorted(item.identity for item in resources)
    assert all(place[needed] < place[item.identity] for item in ordered for needed in item.after)


def test_resources_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ManifestError, match="these wait for each other: Stream"):
        in_order([resource(1, frozenset({2})), resource(2, frozenset({1}))])
