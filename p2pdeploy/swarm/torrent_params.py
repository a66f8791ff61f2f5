"""What libtorrent is told of a torrent that is added (shell)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from p2pdeploy.errors import IntegrityError
from p2pdeploy.merkle import BLOCK_BYTES, HASH_BYTES
from p2pdeploy.swarm.settings import PIECE_BYTES_MIN

__all__ = ["UNWANTED", "WANTED", "params_of"]

UNWANTED, WANTED = 0, 4  # libtorrent's priorities of a piece


def params_of(
    torrent_bytes: bytes,
    paths: Mapping[str, Path],
    have: list[bool],
    gaps: Mapping[int, Sequence[tuple[int, int]]],
    *,
    wants_all: bool,
) -> Any:
    """Parse a .torrent and say where its blobs lie.  Blocking: a torrent can be large.

    Raises:
        IntegrityError: as ``Session.add``.
    """
    try:
        info = lt.torrent_info(cast(Any, lt.bdecode(torrent_bytes)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise IntegrityError(f"not a torrent: {error}", code="bad-torrent") from error
    blobs = _blobs_of(info, len(paths), len(have))
    # Matched by order, not by name: libtorrent cleans names up for file systems that are not ours.
    in_order = sorted(paths, key=lambda path: [part.encode() for part in path.split("/")])
    params = _with_layers(info, lt.bdecode(torrent_bytes))
    params.ti = info
    params.save_path = str(paths[in_order[0]].parent)
    params.renamed_files = {
        index: str(paths[path]) for index, path in zip(blobs, in_order, strict=True)
    }
    params.have_pieces = have
    blocks = -(-info.piece_length() // BLOCK_BYTES)
    params.unfinished_pieces = {
        piece: [_is_whole(block, missing) for block in range(blocks)]
        for piece, missing in gaps.items()
    }
    if not wants_all:
        params.piece_priorities = [UNWANTED] * len(have)
    flags = lt.torrent_flags  # neither paused nor queued: we decide what is fetched
    params.flags = flags.update_subscribe | flags.apply_ip_filter
    params.flags |= flags.disable_dht | flags.disable_lsd | flags.disable_pex
    return params


def _is_whole(block: int, missing: Sequence[tuple[int, int]]) -> bool:
    """Whether no byte of a block is in one of the ranges."""
    start, end = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
    return not any(first < end and start < after for first, after in missing)


def _with_layers(info: Any, decoded: Any) -> Any:
    """Parameters that hold the piece layer of each blob whose bytes stand at another path as well.

    libtorrent 2.1.1 takes a layer of the .torrent for the first file with its root.  The others
    would wait for hashes for ever when pieces come by ``add_piece``.  Trees as in resume data
    (https://www.libtorrent.org/manual-ref.html#fast-resume) reach each file by its index.
    """
    layout, layers = info.layout(), decoded[b"piece layers"]
    roots = [layout.root(index).to_bytes() for index in range(layout.num_files())]
    if len({root for root in roots if root in layers}) == sum(root in layers for root in roots):
        return lt.add_torrent_params()
    trees = [
        _tree(layers.get(root, b""), layout.file_size(index), info.piece_length())
        for index, root in enumerate(roots)
    ]
    resume = {
        b"file-format": b"libtorrent resume file",
        b"file-version": 1,
        b"info-hash2": info.info_hashes().v2.to_bytes(),
        b"trees": trees,
    }
    return lt.read_resume_data(cast(Any, lt.bencode(resume)))


def _tree(layer: bytes, size_bytes: int, piece_size_bytes: int) -> dict[bytes, bytes]:
    """A Merkle tree of which only *layer* is known: which nodes, from the root on, and those."""
    leaves = _next_power_of_two(-(-size_bytes // BLOCK_BYTES))
    first = leaves * BLOCK_BYTES // piece_size_bytes - 1  # a layer of n nodes follows n - 1 others
    known = len(layer) // HASH_BYTES
    mask = b"0" * first + b"1" * known + b"0" * (2 * leaves - 1 - first - known)
    return {b"hashes": layer, b"mask": mask if layer else b""}


def _next_power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _blobs_of(info: Any, blob_count: int, piece_count: int) -> list[int]:
    """The indexes of the files that are no padding; refuses what does not fit the manifest."""
    layout = info.layout()
    blobs = [
        index
        for index in range(layout.num_files())
        if not layout.file_flags(index) & lt.file_flags_t.flag_pad_file
    ]
    if info.piece_length() < PIECE_BYTES_MIN:
        raise IntegrityError(
            f"pieces of {info.piece_length()} bytes",
            hint=f"publish again with pieces of at least {PIECE_BYTES_MIN} bytes",
            code="bad-torrent",
        )
    if len(blobs) != blob_count or layout.num_pieces() != piece_count:
        raise IntegrityError(
            f"the torrent has {len(blobs)} blobs and {layout.num_pieces()} pieces, "
            f"the manifest {blob_count} and {piece_count}",
            code="bad-torrent",
        )
    return blobs
