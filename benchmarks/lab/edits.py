"""A payload and its next version, the same on every machine (pure but for writing them)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Edit", "few_edits", "rounded_bytes", "scattered_edits", "split", "write_tree"]

MIB = 1 << 20
ROUNDED_TO_BYTES = 64 * 1024
INSERTED_BYTES_MAX = 4_096
FILE_BYTES_MIN, FILE_BYTES_MAX = 16 * 1024, 4 * MIB


class Edit(NamedTuple):
    """At an offset of the old bytes: so many go, these come."""

    offset_bytes: int
    removed_bytes: int
    new: bytes


def few_edits(size_bytes: int, share: float, count: int = 20) -> list[Edit]:
    """*count* replaced regions that make *share* of all bytes, and as many insertions."""
    rng = random.Random(2)
    region_bytes = int(size_bytes * share / count)
    slot_bytes = size_bytes // count
    edits: list[Edit] = []
    for number in range(count):  # each pair in a slot of its own, the insertion before the region
        start = number * slot_bytes
        region = start + rng.randrange(slot_bytes // 2, slot_bytes - region_bytes)
        edits.append(Edit(rng.randrange(start, region), 0, _some(rng)))
        edits.append(Edit(region, region_bytes, rng.randbytes(region_bytes)))
    return edits


def scattered_edits(size_bytes: int, count: int) -> list[Edit]:
    """*count* places at which 1 to 4,096 bytes were replaced, inserted or taken out."""
    rng = random.Random(3)
    slot_bytes = size_bytes // count
    edits: list[Edit] = []
    for number in range(count):
        offset = number * slot_bytes + rng.randrange(slot_bytes - INSERTED_BYTES_MAX)
        new = _some(rng)
        kind = rng.randrange(3)
        edits.append(Edit(offset, 0 if kind == 0 else len(new), b"" if kind == 1 else new))
    return edits


def rounded_bytes(edits: Sequence[Edit]) -> int:
    """What changed, each edit rounded up to 64 KiB."""
    return sum(-(-max(len(edit.new), 1) // ROUNDED_TO_BYTES) * ROUNDED_TO_BYTES for edit in edits)


def split(size_bytes: int) -> list[int]:
    """Sizes of files as a build has them: many small, most bytes in large ones."""
    rng = random.Random(4)
    sizes: list[int] = []
    while size_bytes:
        size = min(
            size_bytes, int(FILE_BYTES_MIN * (FILE_BYTES_MAX / FILE_BYTES_MIN) ** rng.random())
        )
        sizes.append(size)
        size_bytes -= size
    return sizes


def write_tree(folder: Path, sizes: Sequence[int], edits: Sequence[Edit]) -> None:
    """Write files of *sizes*, one after the other of the same random bytes, with *edits* made."""
    rng = random.Random(1)
    folder.mkdir()
    start = 0
    for number, size in enumerate(sizes):
        old = b"".join(rng.randbytes(min(MIB, size - at)) for at in range(0, size, MIB))
        (folder / f"{number:04d}.bin").write_bytes(_edited(old, start, edits))
        start += size


def _edited(old: bytes, start: int, edits: Sequence[Edit]) -> bytes:
    """The part of the whole that begins at *start*, edits that reach into it made."""
    parts: list[bytes] = []
    at, end = start, start + len(old)
    for edit in edits:
        first, after = edit.offset_bytes, edit.offset_bytes + edit.removed_bytes
        if after < at or first >= end or (after == at and first < at):
            continue
        skipped = max(0, at - first)  # of a region that began in the file before
        parts.append(old[at - start : max(first, at) - start])
        kept = len(edit.new) if after <= end else end - first
        parts.append(edit.new[skipped:kept])
        at = max(at, min(after, end))
    parts.append(old[at - start :])
    return b"".join(parts)


def _some(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(1, INSERTED_BYTES_MAX))
