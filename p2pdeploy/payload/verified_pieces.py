"""Read finished pieces of a release back from the blobs on this disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from p2pdeploy.manifest import Manifest
from p2pdeploy.payload.torrent import PieceCheck, piece_spans

__all__ = ["VerifiedPieces"]


class VerifiedPieces:
    """Reads verified pieces of one release.

    Args:
        manifest: Judged by ``check_manifest``.
        paths: Where each blob lies, in the manifest's order; files may be too short.
    """

    def __init__(self, manifest: Manifest, paths: Sequence[Path]) -> None:
        self._spans = piece_spans(manifest)
        self._is_right = PieceCheck(manifest).is_right
        self._paths = paths

    def read(self, piece: int) -> bytes | None:
        """The bytes of *piece*; None when the disk does not show them, now or ever.

        Why it does not is told by whoever writes there.
        """
        span = self._spans[piece]
        try:
            with self._paths[span.blob_index].open("rb", buffering=0) as blob:
                data = os.pread(blob.fileno(), span.size_bytes, span.offset_bytes)
        except OSError:
            return None
        return data if self._is_right(piece, data) else None
