"""How every host stands with its enrolment, as people see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment_desk import AlarmView, EnrolledHost, EnrolmentStatus
from p2pdeploy.topology import Host
from p2ptracker.storage.enrolment import Alarm, Enrolment

__all__ = ["enrolment_status", "host_status"]


def enrolment_status(
    hosts: Sequence[Host],
    enrolments: Mapping[HostName, Enrolment],
    tokens: Mapping[HostName, float],
    joins: Mapping[HostName, float],
    alarms: Sequence[Alarm],
) -> EnrolmentStatus:
    """Everything there is to see.

    *tokens*: when the unused token of a host expires.  *joins*: until when one may join by its
    company's certificate.
    """
    return EnrolmentStatus(
        hosts=[
            host_status(
                host.name,
                enrolments.get(host.name),
                tokens.get(host.name),
                joins.get(host.name),
            )
            for host in hosts
        ],
        alarms=[
            AlarmView(at=_moment(a.at), host=a.host, code=a.code, message=a.message) for a in alarms
        ],
    )


def host_status(
    host: HostName,
    known: Enrolment | None,
    token_expires_at: float | None = None,
    join_expires_at: float | None = None,
) -> EnrolledHost:
    """One host."""
    if known is not None and known.is_revoked:
        state = "revoked"
    elif known is not None:
        state = "enrolled"
    elif token_expires_at is not None:
        state = "token"
    else:
        state = "certificate" if join_expires_at is not None else "none"
    return EnrolledHost(
        host=host,
        state=state,
        enrolment=known.enrolment if known else 0,
        enrolled_at=_maybe(known.enrolled_at if known else None),
        revoked_at=_maybe(known.revoked_at if known else None),
        token_expires_at=_maybe(token_expires_at if join_expires_at is None else join_expires_at),
        reason=known.reason if known else "",
    )


def _maybe(at: float | None) -> datetime | None:
    return None if at is None else _moment(at)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(round(at, 3), UTC)
