"""The whole of a delta without a control plane, as tests use it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.payload.delta import Delta, DeltaResult, Older

__all__ = ["local_pieces"]


def local_pieces(
    manifest: Manifest, index: ChunkIndex, olds: Iterable[Older], root: Path
) -> DeltaResult:
    """Copy into the prepared *root* every chunk that *olds* have."""
    delta = Delta(manifest, root)
    delta.copy_chunks(index, olds)
    return delta.result()
