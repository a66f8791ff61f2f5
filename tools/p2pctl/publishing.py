"""A publish from tree to release: build, announce, send what is missing, commit, sign."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from p2pctl.client import ApiClient
from p2pctl.documents import PublishReport
from p2pctl.signing import ReleaseSigner
from p2pctl.uploading import Chunk, chunks_of, repeated_bytes, select, send_chunks
from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import ServiceName, Version
from p2pdeploy.messages.api import PublishBegun
from p2pdeploy.payload.build import Built, build

__all__ = ["PublishProgress", "PublishWatcher", "publish_tree"]

# Another publisher of the same chunks may be killed between our begin and our commit; a registry
# that loses chunks more often than this has a defect that no repetition cures.
_ROUNDS_MAX = 3


class PublishWatcher(Protocol):
    """Is told how far a publish is; both numbers are bytes."""

    def hashed(self, done: int, total: int, /) -> None: ...
    def sent(self, done: int, total: int, /) -> None: ...


def publish_tree(
    api: ApiClient,
    service: ServiceName,
    version: Version,
    path: Path,
    watcher: PublishWatcher,
    *,
    key_file: Path | None = None,
) -> PublishReport:
    """Publish the tree at *path* as *version* of *service*; safe to repeat after any failure.

    It is signed with the key in *key_file*, or with the fleet folder's when that may sign.

    Raises:
        PayloadError: the tree breaks the payload contract or changed while it was read.
        RefusedError: other bytes have this version already (``version-exists``), or nobody may
            sign for the service (``no-publishers``).
        TrustError: something else was to be signed; the release is there, and pending.
        UnavailableError: the control plane went away; publish again.
    """
    started = time.monotonic()
    if not path.is_dir():
        raise ConfigError("not a directory", where=str(path), code="not-a-directory")
    built = build(path, service, progress=watcher.hashed)
    with built.sources:
        sent_bytes, was_there = _register(api, service, version, built, watcher)
    signed = ReleaseSigner(api, key_file).sign_published(service, version, built.manifest_bytes)
    size_bytes = built.manifest.size_bytes
    reused_bytes = max(0, size_bytes - sent_bytes)
    return PublishReport(
        service=service,
        version=version,
        manifest_digest=built.manifest_digest,
        size_bytes=size_bytes,
        sent_bytes=sent_bytes,
        reused_bytes=reused_bytes,
        repeated_bytes=min(reused_bytes, repeated_bytes(built.chunk_index)),
        state="already-published" if was_there else "published",
        release_state=signed.state,
        missing_signatures=signed.missing_signatures,
        service_added=signed.service_added,
        seconds=round(time.monotonic() - started, 3),
    )


def _register(
    api: ApiClient, service: ServiceName, version: Version, built: Built, watcher: PublishWatcher
) -> tuple[int, bool]:
    """Send what the registry lacks until it has all: how many bytes, and whether it had it all."""
    sent_bytes = 0
    for _ in range(_ROUNDS_MAX):
        begun = api.begin_publish(service, version, built.manifest_bytes, built.chunk_index_bytes)
        if begun.state == "published":
            return sent_bytes, not sent_bytes
        sent_bytes += _send_missing(api, begun, built, watcher)
        if _committed(api, service, version, built):
            return sent_bytes, False
    raise RefusedError("the registry lost chunks again and again", code="chunks-missing")


def _send_missing(
    api: ApiClient, begun: PublishBegun, built: Built, watcher: PublishWatcher
) -> int:
    chunks: list[Chunk] = select(chunks_of(built.chunk_index), begun.missing)
    total = sum(chunk.size_bytes for chunk in chunks)
    if chunks:
        send_chunks(
            begun.upload_address,
            begun.upload_key,
            api.identity,
            chunks,
            built.sources,
            on_durable=lambda done: watcher.sent(done, total),
        )
    return total


def _committed(api: ApiClient, service: ServiceName, version: Version, built: Built) -> bool:
    try:
        api.commit(service, version, built.manifest_digest)
    except RefusedError as error:
        if error.code != "chunks-missing":
            raise
        return False
    return True


class PublishProgress:
    """Progress bars with rate and remaining time on *console*; nothing when it is no terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._read = self._bars.add_task("reading", total=None)
        self._send = self._bars.add_task("sending", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def hashed(self, done: int, total: int, /) -> None:
        """Bytes read and hashed."""
        self._bars.update(self._read, completed=done, total=total)

    def sent(self, done: int, total: int, /) -> None:
        """Bytes that the registry has on disk."""
        self._bars.update(self._send, completed=done, total=total, visible=True)
