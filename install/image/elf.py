"""Shared libraries (64-bit ELF, little endian) written again with only what the loader maps, and without one section.

What falls away is symbols for debuggers, section headers, and the pages of the section: its addresses stay reserved and
can't be read. All that runs keeps its address, so that nothing else changes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

PAGE = 0x1000
LOAD, NOTE = 1, 4
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")


@dataclass(frozen=True)
class Segment:
    """A program header; offsets, addresses and sizes are in bytes."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    in_file: int
    in_memory: int
    alignment: int

    def pack(self) -> bytes:
        fields = (self.offset, self.address, self.physical, self.in_file, self.in_memory, self.alignment)
        return SEGMENT.pack(self.kind, self.flags, *fields)


def segments(data: bytes) -> list[Segment]:
    header = HEADER.unpack_from(data)
    start, count = header[5], header[10]
    return [Segment(*SEGMENT.unpack_from(data, start + number * SEGMENT.size)) for number in range(count)]


def section(data: bytes, name: str) -> tuple[int, int]:
    """Where the section `name` begins in the file and where it ends; (0, 0) without one."""
    header = HEADER.unpack_from(data)
    start, count, names = header[6], header[12], header[13]
    sections = [SECTION.unpack_from(data, start + number * SECTION.size) for number in range(count)]
    texts = sections[names][4] if sections else 0
    for found in sections:
        text = data[texts + found[0] : data.index(b"\0", texts + found[0])]
        if text == name.encode():
            return found[4], found[4] + found[5]
    return 0, 0


def split(segment: Segment, start: int, end: int) -> list[Segment]:
    """`segment` without the file's bytes from `start` to `end`, which lie on page boundaries within it."""
    after = end - segment.offset
    return [
        replace(segment, in_file=start - segment.offset, in_memory=start - segment.offset),
        replace(
            segment,
            offset=end,
            address=segment.address + after,
            physical=segment.physical + after,
            in_file=segment.in_file - after,
            in_memory=segment.in_memory - after,
        ),
    ]


def loaded(data: bytes, without: str = "") -> bytes:
    """The library with only what is mapped of it. Raises `ValueError` where `without` lies in no segment."""
    table = [found for found in segments(data) if found.kind != NOTE or not without]
    if without:
        start, end = section(data, without)
        start, end = -(-start // PAGE) * PAGE, end // PAGE * PAGE
        holder = next((s for s in table if s.kind == LOAD and s.offset <= start < end <= s.offset + s.in_file), None)
        if holder is None or len(table) >= len(segments(data)):
            raise ValueError(f"the section {without} can't be taken out")
        place = table.index(holder)
        table[place : place + 1] = split(holder, start, end)
    return _write(data, table)


def _write(data: bytes, table: list[Segment]) -> bytes:
    """A file of the segments in `table`; those that are not loaded lie in one that is, or hold nothing."""
    moved: list[tuple[Segment, int]] = []
    result = bytearray()
    for found in [segment for segment in table if segment.kind == LOAD]:
        result += bytes((found.address - len(result)) % PAGE)
        moved.append((found, len(result)))
        result += data[found.offset : found.offset + found.in_file]
    header = list(HEADER.unpack_from(data))
    header[6], header[10], header[11:] = 0, len(table), [0, 0, 0]
    result[: HEADER.size] = HEADER.pack(*header)
    packed = b"".join(replace(found, offset=_offset(found, moved)).pack() for found in table)
    result[header[5] : header[5] + len(packed)] = packed
    return bytes(result)


def _offset(segment: Segment, moved: list[tuple[Segment, int]]) -> int:
    for holder, offset in moved:
        if holder.address <= segment.address < holder.address + max(holder.in_memory, 1):
            return offset + segment.address - holder.address
    return 0


def rewrite(path: Path, without: str = "") -> int:
    """Rewrites the library at `path` in a new file of that name; the bytes that it saved."""
    data = path.read_bytes()
    result = loaded(data, without)
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(result)
    path.chmod(mode)
    return len(data) - len(result)
