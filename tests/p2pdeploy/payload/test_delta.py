"""What a host already has is not fetched again, and nothing wrong is taken for right."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.ids import ServiceName
from p2pdeploy.payload import stage
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.delta import Delta, Older
from p2pdeploy.payload.on_disk import pieces_on_disk
from p2pdeploy.payload.outline import outline_of
from p2pdeploy.payload.torrent import PieceSpan, piece_spans
from tests.p2pdeploy.payload.local_pieces import local_pieces

HELLO = ServiceName("hello")
MIB = 1 << 20
OLD = random.Random(10).randbytes(6 * MIB)
NEW = OLD[:MIB] + b"inserted" + OLD[MIB : 4 * MIB] + random.Random(11).randbytes(MIB)


def fill(built: Built, root: Path, have: list[bool] | None = None) -> None:
    """Write the pieces that *have* says are missing; all of them when None."""
    root.mkdir(exist_ok=True)
    stage.prepare(root, built.manifest)
    for number, (blob_index, offset, size) in enumerate(piece_spans(built.manifest)):
        if have is None or not have[number]:
            handle = os.open(
                stage.blob_path(root, built.manifest, blob_index), os.O_WRONLY | os.O_CREAT
            )
            os.pwrite(handle, built.sources.pread(blob_index, offset, size), offset)
            os.close(handle)
    built.sources.close()


@pytest.fixture
def older(make_tree, tmp_path: Path) -> Older:
    small = {f"small/{n}": random.Random(n).randbytes(40_000) for n in range(20)}
    built = build(make_tree({"data": OLD, **small}, name="old"), HELLO)
    root = tmp_path / "store-old"
    fill(built, root)
    stage.finish(root, built.manifest)
    return Older(built.manifest, built.chunk_index, root)


@pytest.fixture
def new(make_tree) -> Built:
    """Bytes inserted, a tail replaced, a file renamed, packed files moved in their pack."""
    small = {f"small/{n}": random.Random(n).randbytes(40_000) for n in range(1, 20)}
    return build(make_tree({"renamed": NEW, "first": b"!" * 9, **small}, name="new"), HELLO)


def spans_had(built: Built, have: list[bool]) -> list[tuple[PieceSpan, bool]]:
    return list(zip(piece_spans(built.manifest), have, strict=True))


def prepared(built: Built, root: Path) -> Path:
    root.mkdir()
    stage.prepare(root, built.manifest)
    return root


def test_unchanged_bytes_are_found_though_they_moved(
    older: Older, new: Built, tmp_path: Path
) -> None:
    root = prepared(new, tmp_path / "store-new")
    result = local_pieces(new.manifest, new.chunk_index, [older], root)
    assert result.kept_bytes == 0
    assert result.reused_bytes > 0.7 * new.manifest.size_bytes
    assert result.have == pieces_on_disk(new.manifest, root)
    fill(new, root, result.have)
    stage.finish(root, new.manifest)
    assert (root / "tree/renamed").read_bytes() == NEW


def test_a_release_with_the_same_content_is_reused_whole(
    older: Older, make_tree, tmp_path: Path
) -> None:
    old_tree = older.root / "tree"
    again = build(old_tree, HELLO)
    root = prepared(again, tmp_path / "store-again")
    result = local_pieces(again.manifest, again.chunk_index, [older], root)
    assert all(result.have)
    assert result.reused_bytes == again.manifest.size_bytes
    stage.finish(root, again.manifest)


def test_what_a_piece_lacks_is_known_to_the_byte(older: Older, new: Built, tmp_path: Path) -> None:
    root = prepared(new, tmp_path / "store-new")
    result = local_pieces(new.manifest, new.chunk_index, [older], root)
    assert result.gaps, "each edge of what changed lies within a piece"
    lacking = 0
    for number, (span, had) in enumerate(spans_had(new, result.have)):
        if had:
            assert number not in result.gaps
            continue
        gaps = result.gaps.get(number, ((0, span.size_bytes),))
        lacking += sum(end - start for start, end in gaps)
        if number in result.gaps:
            assert_right_beside(new, root, span, gaps)
    assert lacking + result.reused_bytes == new.manifest.size_bytes


def assert_right_beside(built: Built, root: Path, span: PieceSpan, gaps) -> None:
    """Every byte of a piece is right but those in its gaps, of which some are not."""
    with stage.blob_path(root, built.manifest, span.blob_index).open("rb") as file:
        file.seek(span.offset_bytes)
        found = bytearray(file.read(span.size_bytes).ljust(span.size_bytes, b"\0"))
    true = built.sources.pread(*span)
    assert found != true
    for start, end in gaps:
        assert 0 <= start < end <= span.size_bytes
        found[start:end] = true[start:end]
    assert found == true


def test_outlines_find_what_did_not_change_in_a_changed_chunk(
    older: Older, new: Built, tmp_path: Path
) -> None:
    """What is lacking then is little more than what was changed: a MiB, and a word of 8 bytes."""
    root = prepared(new, tmp_path / "store-new")
    delta = Delta(new.manifest, root)
    delta.copy_chunks(new.chunk_index, [older])
    before = delta.result()
    outlines = [
        outline_of(new.sources.pread(*msgspec.structs.astuple(e.chunk))) for e in delta.edges
    ]
    delta.copy_parts(delta.edges, outlines)
    result = delta.result()
    renamed = MIB + len("inserted") + 9  # nothing is beside the file that was put in front
    assert new.manifest.size_bytes - before.reused_bytes > renamed + 64 * 1024
    assert renamed < new.manifest.size_bytes - result.reused_bytes < renamed + 24 * 1024
    for number, (span, _) in enumerate(spans_had(new, result.have)):
        if number in result.gaps:
            assert_right_beside(new, root, span, result.gaps[number])


def test_the_first_release_that_has_it_all_is_the_only_one_that_is_read(
    older: Older, make_tree, tmp_path: Path
) -> None:
    again = build(older.root / "tree", HELLO)

    def olds():
        yield older
        pytest.fail("another release was read")

    root = prepared(again, tmp_path / "store-again")
    assert all(local_pieces(again.manifest, again.chunk_index, olds(), root).have)


def test_without_older_releases_nothing_is_there(new: Built, tmp_path: Path) -> None:
    root = prepared(new, tmp_path / "store-new")
    result = local_pieces(new.manifest, new.chunk_index, [], root)
    assert not any(result.have)
    assert result.reused_bytes == result.kept_bytes == 0


def test_running_it_again_keeps_what_is_there(older: Older, new: Built, tmp_path: Path) -> None:
    root = prepared(new, tmp_path / "store-new")
    one = local_pieces(new.manifest, new.chunk_index, [older], root)
    two = local_pieces(new.manifest, new.chunk_index, [older], root)
    assert (two.have, two.gaps) == (one.have, one.gaps)
    whole = sum(span.size_bytes for span, had in spans_had(new, one.have) if had)
    assert two.kept_bytes == whole
    assert two.reused_bytes == one.reused_bytes - whole


def test_an_interrupted_fetch_is_taken_up(new: Built, tmp_path: Path) -> None:
    root = tmp_path / "store-new"
    half = [number % 2 == 0 for number, _ in enumerate(piece_spans(new.manifest))]
    fill(new, root, half)
    assert pieces_on_disk(new.manifest, root) == [not missing for missing in half]


def test_a_damaged_older_release_only_costs_its_damaged_part(
    older: Older, new: Built, tmp_path: Path
) -> None:
    data = older.root / "tree/data"
    data.chmod(0o600)
    with data.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"rot")
    whole = 0.7 * new.manifest.size_bytes
    root = prepared(new, tmp_path / "store-new")
    result = local_pieces(new.manifest, new.chunk_index, [older], root)
    assert 0.25 * whole < result.reused_bytes < whole
    assert result.have == pieces_on_disk(new.manifest, root)


@pytest.mark.parametrize("damage", ["unlink", "truncate"])
def test_an_older_release_that_is_half_gone_is_no_fault(
    older: Older, new: Built, tmp_path: Path, damage: str
) -> None:
    if damage == "unlink":
        (older.root / "tree").chmod(0o700)
        (older.root / "tree/data").unlink()
    else:
        (older.root / "tree/data").chmod(0o600)
        os.truncate(older.root / "tree/data", 0)
    root = prepared(new, tmp_path / "store-new")
    result = local_pieces(new.manifest, new.chunk_index, [older], root)
    assert 0 < result.reused_bytes < MIB, "the pack is still reused"


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP])
def test_it_copies_by_hand_where_the_kernel_does_not(
    older: Older, new: Built, tmp_path: Path, monkeypatch, code: int
) -> None:
    expected = local_pieces(
        new.manifest, new.chunk_index, [older], prepared(new, tmp_path / "kernel")
    )

    def refuse(*_: object) -> int:
        raise OSError(code, "refused")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    root = prepared(new, tmp_path / "hand")
    assert local_pieces(new.manifest, new.chunk_index, [older], root) == expected


def test_a_full_disk_is_said_so(older: Older, new: Built, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="no space"):
        local_pieces(new.manifest, new.chunk_index, [older], prepared(new, tmp_path / "store-new"))
