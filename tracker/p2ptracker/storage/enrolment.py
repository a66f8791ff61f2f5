"""Who is enrolled, who is revoked, and what only a thief does."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from p2pdeploy.ids import HostName
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX
from p2ptracker.storage.identity_tables import (
    company_joins,
    enrolment_alarms,
    enrolments,
    join_tokens,
    refused_serials,
)

__all__ = [
    "Alarm",
    "Enrolment",
    "Refusals",
    "add_alarm",
    "enrol_anew",
    "newest_alarms",
    "refuse_serial",
    "revoke_host",
    "stored_refusals",
    "take_back",
]

ALARMS_KEPT = 1_000  # months of mistakes, or the last hour of an attack


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """How one host stands: its last enrolment, and the least that is believed of it.

    ``public_key``: the attestation key that it enrolled with; empty when that was not heard here.
    """

    host: HostName
    enrolment: int
    floor: int
    enrolled_at: float | None = None
    revoked_at: float | None = None
    reason: str = ""
    public_key: bytes = b""

    @property
    def is_revoked(self) -> bool:
        return self.floor > self.enrolment


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody's standing, and since when which operators' certificates are refused."""

    enrolments: tuple[Enrolment, ...]
    serials: dict[str, float]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """What only a thief or a mistake does."""

    at: float
    host: HostName
    code: str
    message: str


def enrol_anew(
    connection: sa.Connection,
    host: HostName,
    *,
    enrolment_before: int,
    public_key: bytes,
    now: float,
) -> Enrolment:
    """Count one more enrolment of *host*; everything before it is believed no more.

    Args:
        connection: In a transaction for writing.
        host: Who.
        enrolment_before: The inventory's; counts when the host never joined with a token.
        public_key: The host's attestation key.
        now: Seconds since the epoch.
    """
    known = _enrolment_of(connection, host)
    last = max(known.enrolment, known.floor - 1) if known else 0
    number = max(last, enrolment_before) + 1
    standing = Enrolment(
        host=host, enrolment=number, floor=number, enrolled_at=now, public_key=public_key
    )
    return _put(connection, standing)


def revoke_host(
    connection: sa.Connection, host: HostName, *, enrolment_before: int, reason: str, now: float
) -> Enrolment:
    """Believe *host* no more, until it is enrolled anew.  Twice is once.

    What lets it join and was not used is void: whoever has its disk may have that, too.
    """
    for table in (join_tokens, company_joins):
        unused = sa.and_(table.c.host == host, table.c.used_at.is_(None))
        connection.execute(sa.delete(table).where(unused))
    known = _enrolment_of(connection, host)
    if known is not None and known.is_revoked:
        return known
    number = max(known.enrolment if known else 0, enrolment_before)
    return _put(
        connection,
        Enrolment(
            host=host,
            enrolment=number,
            floor=number + 1,
            enrolled_at=known.enrolled_at if known else None,
            revoked_at=now,
            reason=reason,
            public_key=known.public_key if known else b"",
        ),
    )


def refuse_serial(connection: sa.Connection, serial: str, *, reason: str, now: float) -> None:
    """Refuse an operator's certificate.  Twice is once."""
    row = {"serial": serial, "refused_at": now, "reason": reason}
    connection.execute(insert(refused_serials).on_conflict_do_nothing(), row)


def take_back(
    connection: sa.Connection,
    known: Sequence[Enrolment],
    serials: Sequence[str],
    *,
    told_since: float,
    now: float,
) -> Sequence[str]:
    """Store what an older database forgot.  Numbers only rise.

    Args:
        connection: In a transaction for writing.
        known: Hosts.
        serials: Operators' certificates.
        told_since: Hosts are told of certificates that were refused after that.
        now: Seconds since the epoch, as *told_since*.

    Returns:
        Those of *serials* that are stored; the others are more than hosts can be told of.
    """
    for each in known:
        before = _enrolment_of(connection, each.host)
        if before is None or before.floor < each.floor:
            _put(connection, each)
    told = sa.select(sa.func.count()).where(refused_serials.c.refused_at > told_since)
    room = max(0, REFUSED_SERIALS_MAX - connection.execute(told).scalar_one())
    for serial in serials[:room]:
        refuse_serial(connection, serial, reason="learnt from a cell", now=now)
    return serials[:room]


def stored_refusals(connection: sa.Connection) -> Refusals:
    """What a starting control plane must know."""
    rows = connection.execute(sa.select(enrolments).order_by(enrolments.c.host))
    refused = connection.execute(sa.select(refused_serials.c.serial, refused_serials.c.refused_at))
    return Refusals(
        enrolments=tuple(Enrolment(**row._mapping) for row in rows),
        serials={row.serial: row.refused_at for row in refused},
    )


def add_alarm(connection: sa.Connection, alarm: Alarm) -> None:
    """Keep *alarm*; the oldest goes when there are too many."""
    placed = connection.execute(enrolment_alarms.insert(), msgspec.structs.asdict(alarm))
    seq = placed.inserted_primary_key
    assert seq is not None
    connection.execute(
        sa.delete(enrolment_alarms).where(enrolment_alarms.c.seq <= seq[0] - ALARMS_KEPT)
    )


def newest_alarms(connection: sa.Connection) -> list[Alarm]:
    """The newest first."""
    query = sa.select(*(enrolment_alarms.c[name] for name in Alarm.__struct_fields__))
    rows = connection.execute(query.order_by(enrolment_alarms.c.seq.desc()).limit(ALARMS_KEPT))
    return [Alarm(**row._mapping) for row in rows]


def _enrolment_of(connection: sa.Connection, host: HostName) -> Enrolment | None:
    row = connection.execute(sa.select(enrolments).where(enrolments.c.host == host)).first()
    return Enrolment(**row._mapping) if row else None


def _put(connection: sa.Connection, standing: Enrolment) -> Enrolment:
    row = msgspec.structs.asdict(standing)
    changing = {name: value for name, value in row.items() if name != "host"}
    statement = insert(enrolments).on_conflict_do_update(index_elements=["host"], set_=changing)
    connection.execute(statement, row)
    return standing
