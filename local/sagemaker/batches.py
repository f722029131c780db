"""How a batch transform cuts an object into payloads, and puts the answers together; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MEGABYTE = 1024 * 1024


class TooLarge(ValueError):
    """A record is larger than a payload may be; the message says by how much."""


def payloads(content: bytes, *, split: str, strategy: str, most: int) -> Iterator[bytes]:
    """The bodies to send for an object: `split` is None or Line, `strategy` SingleRecord or MultiRecord, and no body
    has more than `most` bytes (0: any). Raises `TooLarge`."""
    records = [content] if split == "None" else [line for line in content.splitlines() if line.strip()]
    if split == "None" or strategy == "SingleRecord":
        yield from (_checked(record, most) for record in records)
    else:
        yield from _packed(records, most)


def assemble(answers: Iterable[bytes], how: str) -> bytes:
    """The object to write: with `how` Line each answer ends in a newline, with None they follow each other."""
    if how != "Line":
        return b"".join(answers)
    return b"".join(answer if answer.endswith(b"\n") else answer + b"\n" for answer in answers)


def _packed(records: Iterable[bytes], most: int) -> Iterator[bytes]:
    """As many lines a body as go into it."""
    batch: list[bytes] = []
    size = 0
    for record in records:
        _checked(record, most)
        if batch and most and size + len(record) + 1 > most:
            yield b"\n".join(batch)
            batch, size = [], 0
        size += len(record) + bool(batch)
        batch.append(record)
    if batch:
        yield b"\n".join(batch)


def _checked(record: bytes, most: int) -> bytes:
    if most and len(record) > most:
        raise TooLarge(f"a record of {len(record)} bytes is over MaxPayloadInMB, which allows {most}")
    return record
