"""What lies on hosts, as people read it."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from rich.console import Console, RenderableType

from p2pctl.render.caches import view_caches, view_pruned
from p2pdeploy.ids import Digest, HostName, ServiceName, Version
from p2pdeploy.messages.api import ErrorBody
from p2pdeploy.messages.cache import CachedReleaseView, CacheView

MIB = 1 << 20
OLD = CachedReleaseView(
    digest=Digest("ab" * 32),
    service=ServiceName("hello"),
    versions=[Version("1.0.0"), Version("1.0.1")],
    size_bytes=3 * MIB,
    state="unused",
    staged_at=datetime(2026, 1, 2, tzinfo=UTC),
    used_at=datetime(2026, 1, 3, tzinfo=UTC),
)
SILENT = CacheView(host=HostName("h02"), error=ErrorBody(code="unavailable", message="no answer"))


def text_of(view: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_hosts_show_their_room_and_their_releases() -> None:
    host = CacheView(
        host=HostName("h01"),
        releases=(OLD,),
        free_bytes=8 * MIB,
        reserve_bytes=MIB,
        held_bytes=2 * MIB,
        waiting=1,
        needed_bytes=16 * MIB,
    )
    text = text_of(view_caches([host, SILENT]))
    room, silent, *rest = text.splitlines()[1:]
    assert " ".join(room.split()) == "h01 8 MiB 1 MiB 2 MiB ■ 1, for 16 MiB"
    assert "h02" in silent
    assert "no answer" in silent
    row = rest[-1]
    for word in ("h01", "hello", "1.0.0, 1.0.1", "abababababab", "3 MiB", "unused", "2026-01-02"):
        assert word in row


def test_a_prune_tells_what_went_and_who_was_silent() -> None:
    text = text_of(view_pruned([CacheView(host=HostName("h01"), pruned=(OLD,)), SILENT]))
    assert "1.0.0, 1.0.1" in text
    assert "h02: ✖ no answer" in text
    assert text.splitlines()[-1] == "1 deleted on 1 host, 3 MiB"


def test_nothing_to_delete_is_told_as_such() -> None:
    text = text_of(view_pruned([CacheView(host=HostName("h01")), CacheView(host=HostName("h03"))]))
    assert text == "0 deleted on 2 hosts, 0 B\n"
