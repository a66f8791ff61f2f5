"""The change that the delta benchmark makes is the one it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.edits import Edit, few_edits, rounded_bytes, scattered_edits, split, write_tree

SIZE_BYTES = 8 << 20


def whole(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("edits", [few_edits(SIZE_BYTES, 0.05), scattered_edits(SIZE_BYTES, 200)])
def test_edits_are_made_alike_in_one_file_and_in_many(tmp_path: Path, edits: list[Edit]) -> None:
    write_tree(tmp_path / "old", split(SIZE_BYTES), [])
    write_tree(tmp_path / "new", split(SIZE_BYTES), edits)
    expected = bytearray(whole(tmp_path / "old"))
    assert len(expected) == SIZE_BYTES
    for edit in reversed(edits):
        end = edit.offset_bytes + edit.removed_bytes
        expected[edit.offset_bytes : end] = edit.new
    assert whole(tmp_path / "new") == expected


def test_a_few_edits_are_what_was_promised() -> None:
    edits = few_edits(256 << 20, 0.05)
    replaced = [edit for edit in edits if edit.removed_bytes]
    inserted = [edit for edit in edits if not edit.removed_bytes]
    assert (len(replaced), len(inserted)) == (20, 20)
    assert sum(len(edit.new) for edit in replaced) == pytest.approx(0.05 * (256 << 20), abs=20)
    assert all(1 <= len(edit.new) <= 4_096 for edit in inserted)
    assert rounded_bytes(edits) == 20 * 65_536 * 11 + 20 * 65_536, "671,088 bytes are 11 x 64 KiB"


def test_the_same_edits_come_each_time() -> None:
    assert few_edits(SIZE_BYTES, 0.05) == few_edits(SIZE_BYTES, 0.05)
