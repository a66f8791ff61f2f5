"""What libtorrent is told of a torrent that is added (shell)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

from p2pdeploy.errors import IntegrityError
from p2pdeploy.swarm.settings import PIECE_BYTES_MIN

__all__ = ["params_of"]


def params_of(torrent_bytes: bytes, paths: Mapping[str, Path], have: list[bool]) -> Any:
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
    params = lt.add_torrent_params()
    params.ti = info
    params.save_path = str(paths[in_order[0]].parent)
    params.renamed_files = {
        index: str(paths[path]) for index, path in zip(blobs, in_order, strict=True)
    }
    params.have_pieces = have
    flags = lt.torrent_flags  # neither paused nor queued: we decide what is fetched
    params.flags = flags.update_subscribe | flags.apply_ip_filter
    params.flags |= flags.disable_dht | flags.disable_lsd | flags.disable_pex
    return params


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
