"""How much of a host's disk a release takes, from its first byte to its end.  Pure.

Blobs lie there once; what travels in packs lies there twice, since packs go on being seeded while
the tree has the files that were made of them.
"""

from __future__ import annotations

from p2pdeploy.manifest import Manifest

__all__ = ["DISK_BLOCK_BYTES", "footprint_bytes"]

# What ext4, XFS and tmpfs give out at least; a file of one byte takes as much.
DISK_BLOCK_BYTES = 4096
# A name in its folder, and its share of an inode table that grows (XFS).
_PATH_BYTES = 512
# What keeps the books of one file's extents, and marker and seal of the release.
_BOOKS_BYTES = 8 * DISK_BLOCK_BYTES


def footprint_bytes(manifest: Manifest) -> int:
    """What *manifest*'s release takes once it is staged, its own description left out.

    Rather too much by a little than too little: who reserves this much is not surprised.
    """
    blobs = sum(_blocks(blob.size_bytes) for blob in manifest.blobs)
    large = {blob.path for blob in manifest.blobs}
    made = sum(
        _blocks(entry.size_bytes)
        for entry in manifest.entries
        if entry.kind == "file" and entry.path not in large
    )
    folders = sum(entry.kind == "dir" for entry in manifest.entries) * DISK_BLOCK_BYTES
    paths = (len(manifest.entries) + len(manifest.blobs)) * _PATH_BYTES
    return blobs + made + folders + paths + _BOOKS_BYTES


def _blocks(size_bytes: int) -> int:
    return -(-size_bytes // DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES
