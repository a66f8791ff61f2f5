"""What each host said last of each service, keyed (host, service), monotone by (epoch, seq)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import CellId, HostName, ServiceName
from p2ptracker.storage.cell_tables import observations

__all__ = ["Observation", "save_observations", "stored_observations"]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One attestation as it was heard; ``seen_at`` is the control plane's clock, in seconds."""

    host: HostName
    service: ServiceName
    cell: CellId
    epoch: int
    seq: int
    version: str
    state: str
    seen_at: float
    envelope: bytes


_KEY = ["host", "service"]
_CHANGING = [name for name in Observation.__struct_fields__ if name not in _KEY]


def save_observations(connection: sa.Connection, heard: Sequence[Observation]) -> None:
    """Keep each that is newer than what is stored; older ones change nothing."""
    if not heard:
        return
    statement = insert(observations)
    new = statement.excluded
    newer = sa.or_(
        new.epoch > observations.c.epoch,
        sa.and_(new.epoch == observations.c.epoch, new.seq > observations.c.seq),
    )
    upsert = statement.on_conflict_do_update(
        index_elements=_KEY, set_={name: new[name] for name in _CHANGING}, where=newer
    )
    connection.execute(upsert, [msgspec.structs.asdict(item) for item in heard])


def stored_observations(connection: sa.Connection) -> list[Observation]:
    """Everything heard so far: what a restart knows before the first delegate calls."""
    query = sa.select(*(observations.c[name] for name in Observation.__struct_fields__))
    ordered = query.order_by(observations.c.cell, observations.c.host, observations.c.service)
    return [Observation(**row._mapping) for row in connection.execute(ordered)]
