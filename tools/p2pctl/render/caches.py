"""Releases on hosts' disks as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from p2pctl.render.glyphs import styled
from p2pctl.render.listings import show_bytes, show_time
from p2pctl.render.tables import PlainTable, plain_table
from p2pdeploy.messages.cache import CachedReleaseView, CacheView

__all__ = ["view_caches", "view_pruned"]

_DIGEST_CHARS = 12  # enough to tell releases apart; -o json has all of it


def view_caches(hosts: Sequence[CacheView]) -> RenderableType:
    """The room on each host, a line each; then its releases, a line each."""
    if not hosts:
        return Text("no hosts")
    room = plain_table("HOST", "FREE", "RESERVE", "HELD", "WAITING FOR ROOM")
    releases = _release_table("STATE", "WHOLE SINCE", "LAST USED")
    for host in hosts:
        if host.error is not None:
            room.add_row(host.host, _error(host), "-", "-", "-")
            continue
        room.add_row(
            host.host,
            show_bytes(host.free_bytes),
            show_bytes(host.reserve_bytes),
            show_bytes(host.held_bytes),
            _waiting(host),
        )
        for release in host.releases:
            releases.add_row(
                *_release(host, release),
                styled(release.state),
                show_time(release.staged_at),
                show_time(release.used_at),
            )
    return Group(room, Text(""), releases) if releases.row_count else room


def view_pruned(hosts: Sequence[CacheView]) -> RenderableType:
    """What was deleted, a line each, and what that freed on how many hosts."""
    table = _release_table()
    for host in hosts:
        for release in host.pruned:
            table.add_row(*_release(host, release))
    silent = [Text.from_markup(f"{host.host}: {_error(host)}") for host in hosts if host.error]
    deleted = [release for host in hosts for release in host.pruned]
    freed = show_bytes(sum(release.size_bytes for release in deleted))
    asked = len(hosts) - len(silent)
    total = Text(f"{len(deleted)} deleted on {asked} {'host' if asked == 1 else 'hosts'}, {freed}")
    return Group(*([table] if deleted else []), *silent, total)


def _release_table(*more: str) -> PlainTable:
    return plain_table("HOST", "SERVICE", "VERSION", "DIGEST", "SIZE", *more)


def _release(host: CacheView, release: CachedReleaseView) -> tuple[str, str, str, str, str]:
    return (
        host.host,
        escape(release.service) or "-",
        escape(", ".join(release.versions)) or "-",
        release.digest[:_DIGEST_CHARS],
        show_bytes(release.size_bytes),
    )


def _waiting(host: CacheView) -> str:
    if not host.waiting:
        return "-"
    return styled("disk-full", f"{host.waiting}, for {show_bytes(host.needed_bytes)}")


def _error(host: CacheView) -> str:
    assert host.error is not None, "only of who did not answer"
    return styled("down", escape(host.error.message))
