"""How a batch transform cuts objects into payloads, and puts answers together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.batches import TooLarge, assemble, payloads

LINES = st.lists(st.binary(min_size=1, max_size=30).filter(lambda line: len(line.splitlines()) == 1 and line.strip()))


@given(LINES, st.integers(31, 200))
def test_every_line_is_sent_once_in_order_within_the_limit(lines: list[bytes], most: int) -> None:
    lines = [line.splitlines()[0] for line in lines]
    bodies = list(payloads(b"\n".join(lines), split="Line", strategy="MultiRecord", most=most))
    assert [line for body in bodies for line in body.split(b"\n")] == lines
    assert all(len(body) <= most for body in bodies)


@given(LINES, st.integers(31, 200))
def test_a_body_is_as_full_as_it_can_be(lines: list[bytes], most: int) -> None:
    lines = [line.splitlines()[0] for line in lines]
    bodies = list(payloads(b"\n".join(lines), split="Line", strategy="MultiRecord", most=most))
    for body, following in pairwise(bodies):
        assert len(body) + 1 + len(following.split(b"\n")[0]) > most


def test_single_records_are_sent_alone() -> None:
    assert list(payloads(b"a\nb\n\nc\n", split="Line", strategy="SingleRecord", most=10)) == [b"a", b"b", b"c"]


def test_an_object_that_is_not_split_is_sent_whole() -> None:
    assert list(payloads(b"a\nb\n", split="None", strategy="MultiRecord", most=10)) == [b"a\nb\n"]


@pytest.mark.parametrize(
    ("split", "strategy"), [("None", "SingleRecord"), ("Line", "SingleRecord"), ("Line", "MultiRecord")]
)
def test_a_record_over_the_limit_is_refused(split: str, strategy: str) -> None:
    with pytest.raises(TooLarge, match="11 bytes"):
        list(payloads(b"x" * 11, split=split, strategy=strategy, most=10))


def test_answers_are_assembled_a_line_each() -> None:
    assert assemble([b"a", b"b\n"], "Line") == b"a\nb\n"
    assert assemble([b"a", b"b"], "None") == b"ab"
