"""The next PREFETCH of one cell and service, from the last one.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from p2pdeploy.codec import encode
from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId, ServiceName
from p2pdeploy.limits import NUMBER_FOLLOWED_MAX, PREFETCHES_MAX
from p2pdeploy.messages.orders import Prefetch, Prefetched

__all__ = ["OF_CELL_MAX", "asking_for", "can_be_followed", "live", "without"]

OF_CELL_MAX = 16  # builds of all services together: at 10 GB each a disk of its own
# An envelope adds a signature; the rest of its 128 KiB stays free for longer names.
_BYTES_MAX = 120 * 1024


def can_be_followed(held: Prefetch) -> bool:
    """Whether there may be a newer one; else it is a thief's, and only another key ends it."""
    return held.prefetch_seq <= NUMBER_FOLLOWED_MAX


def live(held: Prefetch | None, now: float) -> tuple[Prefetched, ...]:
    """What *held* still asks for at *now*."""
    return tuple(each for each in held.builds if now < each.not_after) if held else ()


def asking_for(
    held: Prefetch | None,
    wanted: Prefetched,
    *,
    cell: CellId,
    service: ServiceName,
    others: int,
    now: float,
) -> Prefetch:
    """*held* with *wanted*, in the place of the same build if it is there.

    What was asked of more hosts, or for longer, is not cut short by a rollout that waits.

    Args:
        held: The cell's newest of this service.
        wanted: What to add.
        cell: Of the order.
        service: Of the order.
        others: How many builds of other services the cell prefetches.
        now: Seconds since the epoch.

    Raises:
        RefusedError: the cell prefetches as much as it may, or the order names too many hosts, or
            none may follow *held*.
    """
    kept = [each for each in live(held, now) if each.build != wanted.build]
    if len(kept) >= PREFETCHES_MAX or len(kept) + others >= OF_CELL_MAX:
        raise RefusedError(
            f"{cell} prefetches {len(kept)} builds of {service} and {others} others already",
            where=cell,
            hint="'p2pctl prefetch list', and cancel one",
            code="too-many-prefetches",
        )
    order = _order(held, cell, service, (*kept, wanted), now)
    if len(encode(order)) > _BYTES_MAX:
        raise RefusedError(
            f"the prefetches of {service} name too many hosts of {cell} one by one",
            where=cell,
            hint="prefetch to all of them: --env E --mf M",
            code="too-many-hosts",
        )
    return order


def without(held: Prefetch, is_over: Callable[[Prefetched], bool], now: float) -> Prefetch | None:
    """*held* without the builds that are over; None when it asks for none such.

    Raises:
        RefusedError: none may follow *held*.
    """
    if not any(is_over(each) for each in held.builds):
        return None
    kept = [each for each in live(held, now) if not is_over(each)]
    return _order(held, held.cell, held.service, kept, now)


def _order(
    held: Prefetch | None,
    cell: CellId,
    service: ServiceName,
    builds: Iterable[Prefetched],
    now: float,
) -> Prefetch:
    """Numbered by the time, so that one that was forgotten with its key is outdone as well."""
    if held is not None and not can_be_followed(held):
        raise RefusedError(
            f"a prefetch of {service} with the number {held.prefetch_seq} leaves none to follow it",
            where=cell,
            hint="somebody has the deployer key: rotate it",
            code="number-stuck",
        )
    before = held.prefetch_seq if held else 0
    return Prefetch(
        cell=cell,
        service=service,
        prefetch_seq=max(before + 1, int(now * 1000)),
        issued_at=now,
        builds=tuple(builds),
    )
