"""Sealed words of a cell, and the rows that they are stored as."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import CellId
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import Item
from p2pdeploy.trust.envelope import Sealed
from p2ptracker.cells.numbers import numbers_of
from p2ptracker.storage.observations import Observation
from p2ptracker.storage.order_number import OrderNumber
from p2ptracker.storage.rollouts import StoredOrder

__all__ = ["SealedOrders", "observation_row", "order_row"]


class SealedOrders(msgspec.Struct, frozen=True):
    """Orders of one cell, sealed: to be stored with what led to them, and issued after that."""

    cell: CellId
    items: tuple[tuple[Item, Sealed], ...]

    @property
    def rows(self) -> list[StoredOrder]:
        """What to store."""
        return [
            order_row(self.cell, item, numbers_of(order), issued=True) for item, order in self.items
        ]


def order_row(
    cell: CellId, item: Item, numbers: tuple[OrderNumber, ...], *, issued: bool
) -> StoredOrder:
    """The row of an order; *issued*: by this control plane."""
    return StoredOrder(
        cell=cell,
        key=item.key,
        version=item.version,
        envelope=item.envelope,
        issued=issued,
        numbers=numbers,
    )


def observation_row(word: Attestation, item: Item, seen_at: float) -> Observation:
    """The row of what a host said."""
    return Observation(
        host=word.host,
        service=word.service,
        cell=word.cell,
        epoch=word.epoch,
        seq=word.seq,
        version=word.version,
        state=word.state,
        seen_at=seen_at,
        envelope=item.envelope,
    )
