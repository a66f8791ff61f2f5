"""How two replicas of a cell's state become equal; one code path for streams and for HTTP.

``offer`` -> ``answer_offer`` -> ``answer_diff`` -> ``answer_exchange``; whoever receives items
passes them through :func:`admit`, the only way into a state.  Between hosts::

    a: offer(a) -> Offer        by datagram
    b: answer_offer(b) -> Diff  opens the stream, unless the summaries are equal
    a: answer_diff(a) -> Exchange
    b: admit(items); answer_exchange(b) -> Items
    a: admit(items)

Between a delegate and the control plane (``messages/sync.py``) *a* is the delegate and posts its
offer and its exchange; *b* is the control plane and answers with the diff and the items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from blake3 import blake3

from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.gossip.state import CellState, item_of
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.gossip import Diff, Exchange, Item, Items, Offer
from p2pdeploy.trust.envelope import Sealed

__all__ = [
    "DELEGATES",
    "EXCHANGE_BYTES_MAX",
    "Admission",
    "Verify",
    "admit",
    "answer_diff",
    "answer_exchange",
    "answer_offer",
    "delegates_of",
    "drop_unverified",
    "offer",
    "open_item",
]

# One exchange is encoded and verified in one go on the event loop; 1 MiB takes about 30 ms.
# What is left over follows with the next offer.
EXCHANGE_BYTES_MAX = 1024 * 1024
# Three to five delegates: any one may die, and the control plane's load stays small.
DELEGATES = 4

Verify = Callable[[bytes], Sealed]
"""Opens an envelope, or raises TrustError or ProtocolError (``trust.envelope.open_envelope``)."""


class Admission(msgspec.Struct, frozen=True):
    """What :func:`admit` did: what is new in the state, and how many items were refused."""

    merged: tuple[tuple[Item, Sealed], ...]
    refused: int


def offer(state: CellState, *, members: int = 0) -> Offer:
    """The state in short; *members* is the hash of the membership table, if there is one."""
    return Offer(state.summary(), members)


def answer_offer(state: CellState, theirs: Offer) -> Diff:
    """What differs from *theirs*; a Diff without buckets says that the states are equal."""
    mine = state.summary()
    buckets = tuple(i for i, mark in enumerate(mine) if mark != theirs.summary[i])
    return Diff(buckets, state.versions(buckets))


def answer_diff(state: CellState, diff: Diff) -> Exchange:
    """The items the other side lacks, urgent ones first and at most one frame, and my wants."""
    they_lack, i_lack = state.newer_than(diff.versions, diff.buckets)
    return Exchange(_as_fits(they_lack), tuple(i_lack))


def answer_exchange(state: CellState, exchange: Exchange) -> Items:
    """The items that *exchange* wants, as far as they are held and one frame takes them."""
    held = (state.get(key) for key in exchange.wants)
    return Items(_as_fits(item for item in held if item is not None))


def _as_fits(items: Iterable[Item]) -> tuple[Item, ...]:
    taken: list[Item] = []
    room = EXCHANGE_BYTES_MAX
    for item in items:
        room -= len(item.envelope) + len(item.key)
        if room < 0 and taken:  # one item always goes, or a large one would block the rest
            break
        taken.append(item)
    return tuple(taken)


def open_item(envelope: bytes, cell: CellId, verify: Verify) -> tuple[Item, Sealed]:
    """Verify *envelope* and place its message in the state of *cell*.

    Raises:
        TrustError: forged, or meant for another cell.
        ProtocolError, RefusedError: malformed.  In every case: store nothing, relay nothing.
    """
    message = verify(envelope)
    if message.cell != cell:
        raise TrustError(f"{type(message).__name__} of cell {message.cell!r}, this is {cell!r}")
    return item_of(message, envelope), message


def admit(state: CellState, items: Iterable[Item], verify: Verify) -> Admission:
    """Verify *items* and merge what is new into *state*.

    What is already held, or older, is passed over before any signature is checked.  An item
    whose envelope is forged, foreign, or says another key or version is refused.
    """
    merged: list[tuple[Item, Sealed]] = []
    refused = 0
    for told in items:
        held = state.get(told.key)
        if held is not None and (held.version > told.version or held == told):
            continue
        try:
            item, message = open_item(told.envelope, state.cell, verify)
        except P2PDeployError:
            refused += 1
            continue
        if item != told:
            refused += 1
        elif state.merge(item):
            merged.append((item, message))
    return Admission(tuple(merged), refused)


def drop_unverified(state: CellState, verify: Verify, *, attestations: bool) -> list[str]:
    """Forget orders that no longer verify, after keys were rotated; returns where they stood.

    A state holds nothing that its owner would refuse: otherwise two replicas that know different
    keys would believe that they are equal, and a host that starts would never get what was sealed
    anew.

    Args:
        state: Whose.
        verify: By the keys of today.
        attestations: Look at those as well: the keys that seal credentials changed.
    """
    dropped: list[str] = []
    for item in list(state.items()):
        if item.key.startswith("att/") and not attestations:
            continue
        try:
            open_item(item.envelope, state.cell, verify)
        except P2PDeployError:
            state.drop(item.key)
            dropped.append(item.key)
    return dropped


def delegates_of(
    cell: CellId, alive: Iterable[HostName], count: int = DELEGATES
) -> tuple[HostName, ...]:
    """The hosts that talk to the control plane for *cell*.

    Rendezvous hashing: every host that sees the same members names the same delegates, and one
    that goes changes only its own place.
    """
    return tuple(sorted(set(alive), key=lambda name: _weight(cell, name), reverse=True)[:count])


def _weight(cell: CellId, name: HostName) -> tuple[bytes, str]:
    return blake3(f"{cell}/{name}".encode()).digest(8), name
