"""The table at the end of the demo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from p2pctl.durations import show_duration
from p2pctl.render.glyphs import styled
from p2pctl.render.listings import show_bytes
from p2pctl.render.tables import plain_table

if TYPE_CHECKING:
    from p2pctl.demo.story import Chapter, StoryResult

__all__ = ["view_story"]


def view_story(result: StoryResult) -> RenderableType:
    """Times, bytes and outcomes per version, the versions served, and every fault."""
    table = plain_table(
        "VERSION", "SIZE", "PUBLISH", "FETCH", "X OF LIMIT", "ROLLOUT", "OUTCOME", "FAULT DOMAINS",
        "PER HOST", "ORIGIN",
    )  # fmt: skip
    for chapter in result.chapters:
        _add_chapter(table.add_row, chapter)
    served = Counter(result.report.served_versions.values())
    versions = ", ".join(f"{count} hosts serve {version}" for version, count in served.items())
    parts: list[RenderableType] = [
        table,
        Text(
            "x of limit: shared loopback, one TCP stream carrying every host's bytes", style="dim"
        ),
        Text(versions),
    ]
    parts += [Text(f"not as told: {fault}", style="red") for fault in result.report.faults]
    if result.report.ok:
        parts.append(Text("everything was as told", style="green"))
    return Group(*parts)


def _add_chapter(add_row: Callable[..., None], chapter: Chapter) -> None:
    rollout = chapter.rollout
    ratio = "-"
    if chapter.fetch_s is not None and chapter.limit_s:
        ratio = f"{chapter.fetch_s / chapter.limit_s:.1f}"
    add_row(
        rollout.version,
        show_bytes(chapter.size_bytes),
        show_duration(chapter.publish_s),
        "-" if chapter.fetch_s is None else show_duration(chapter.fetch_s),
        ratio,
        show_duration(rollout.seconds),
        styled(rollout.outcome),
        " ".join(rollout.fd_order),
        show_bytes(rollout.bytes_per_host_max),
        show_bytes(chapter.dealt_bytes),
    )
