"""The two interfaces behind which one machine or a whole engine may stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import sqlalchemy as sa

from p2pdeploy.ids import Digest

__all__ = ["BlobStore", "Database", "ObjectKind"]

T = TypeVar("T")

ObjectKind = Literal["manifest", "chunks", "torrent"]
"""Small whole objects of a release, each named by the digest it belongs to."""


class Database(Protocol):
    """Transactions on an SQL engine.  *work* runs in a thread and may be run again: it must
    depend on nothing but the connection, and change nothing else.
    """

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run *work* on a consistent snapshot; it must not write."""
        ...

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run *work* as one transaction: all of it is durable on return, or none of it happened."""
        ...


class BlobStore(Protocol):
    """Content-addressed bytes.  Every method blocks; call it in a thread.

    What was adopted or put is durable on return, and never changes.
    """

    def read(self, digest: Digest, offset_bytes: int, size_bytes: int) -> bytes:
        """Return exactly *size_bytes* of a blob; raises NotFoundError or IntegrityError."""
        ...

    def adopt(self, digest: Digest, verified: Path) -> None:
        """Take in the file *verified*, whose digest the caller has just checked.  Idempotent.

        It replaces what is there under that name.
        """
        ...

    def holds(self, digest: Digest, size_bytes: int) -> bool:
        """Whether the blob is there, as long as it must be; its bytes are not looked at."""
        ...

    def local_path(self, digest: Digest) -> Path:
        """A local file that holds the blob, for copying ranges without reading them."""
        ...

    def put_object(self, kind: ObjectKind, digest: Digest, data: bytes) -> None:
        """Store a small object whole.  Idempotent."""
        ...

    def get_object(self, kind: ObjectKind, digest: Digest) -> bytes:
        """Return a small object; raises NotFoundError."""
        ...
