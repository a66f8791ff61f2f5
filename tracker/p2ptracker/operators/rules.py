"""Who may be given which certificate, and whose may be taken back: plain decisions.

Roles are an admin's word when a certificate is issued, and those on record when it is renewed.
A signing request gives its public key and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from p2pdeploy.errors import NotFoundError, RefusedError, TrustError
from p2pdeploy.ids import check_label
from p2pdeploy.messages.operators import RevocationRequest
from p2pdeploy.trust.operator_roles import ADMIN
from p2pdeploy.trust.revocations import REFUSED_SERIALS_MAX
from p2pdeploy.trust.tls import canonical_serial

__all__ = [
    "CERTIFICATES_PER_NAME_MAX",
    "NAMES_MAX",
    "Issued",
    "check_name",
    "chosen",
    "require_admin_left",
    "require_issuable",
    "require_renewable",
    "require_room_to_refuse",
    "require_valid_caller",
]

NAMES_MAX = 1_000  # people and jobs with a valid certificate; a fleet has some dozens
CERTIFICATES_PER_NAME_MAX = 8  # valid at a time: the one in use, and renewals in one month
_SERIAL = re.compile(r"[0-9a-f]{16,}")  # so that NAME|SERIAL on a command line is never unclear


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate on record; times in seconds since the epoch.

    ``renewed_from``: the serial number that asked for it; empty when an admin did.
    """

    serial: str
    name: str
    roles: tuple[str, ...]
    issued_at: float
    expires_at: float
    issued_by: str
    renewed_from: str = ""
    revoked_at: float | None = None
    reason: str = ""

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at *now*."""
        return self.revoked_at is None and now < self.expires_at


def check_name(name: str) -> str:
    """Return *name* if an operator may be called so, or raise RefusedError."""
    if _SERIAL.fullmatch(name):
        raise RefusedError(f"{name!r} looks like a serial number", code="bad-name")
    return check_label(name, "operator name")


def require_valid_caller(refused: Collection[str], serial: str) -> None:
    """Refuse a caller who was let in a moment ago and revoked since; raises TrustError."""
    if serial in refused:
        raise TrustError("the certificate was revoked", code="revoked")


def require_issuable(
    known: Sequence[Issued], name: str, *, replaces: bool, now: float
) -> frozenset[str]:
    """Say whether *name* may get a certificate.

    Returns:
        The serial numbers to be revoked with it: those that the name has, if it *replaces* them.

    Raises:
        RefusedError: somebody is called so already (``operator-exists``): whoever asks may be
            somebody else.  Or there are too many.
    """
    theirs = _valid_of(known, name, now)
    if theirs and not replaces:
        raise RefusedError(
            f"{name} has a certificate already",
            where=theirs[0].serial,
            hint="if it is the same one who asks, --replace revokes that one; else another name",
            code="operator-exists",
        )
    if not theirs and len({each.name for each in known if each.is_valid(now)}) >= NAMES_MAX:
        raise RefusedError(f"there are {NAMES_MAX} operators", code="too-many-operators")
    return frozenset(each.serial for each in theirs)


def require_renewable(known: Sequence[Issued], serial: str, *, now: float) -> Issued:
    """The certificate *serial*, if it may be renewed.

    Raises:
        TrustError: it is revoked, expired or not on record.
        RefusedError: its name has too many that are valid.
    """
    found = next((each for each in known if each.serial == serial), None)
    if found is None:
        raise TrustError(
            "this certificate is not on record here",
            hint="ask an admin for another: 'p2pctl auth request'",
            code="unknown-certificate",
        )
    if not found.is_valid(now):
        why = "expired" if found.revoked_at is None else "revoked"
        raise TrustError(f"the certificate is {why}", code=why)
    if len(_valid_of(known, found.name, now)) >= CERTIFICATES_PER_NAME_MAX:
        raise RefusedError(
            f"{found.name} has {CERTIFICATES_PER_NAME_MAX} certificates that hold",
            hint="use the newest of them",
            code="too-many-certificates",
        )
    return found


def chosen(known: Sequence[Issued], request: RevocationRequest, *, now: float) -> frozenset[str]:
    """The serial numbers that *request* is about: valid ones, and one that is not on record.

    With a certificate goes every one it was renewed into: a thief renews.

    Raises:
        NotFoundError: there is none, or none is valid.
    """
    if request.name:
        found = {each.serial for each in _valid_of(known, request.name, now)}
    else:
        found = _family(known, canonical_serial(request.serial))
        found -= {each.serial for each in known if not each.is_valid(now)}
    if not found:
        raise NotFoundError(
            "there is no such certificate that is valid",
            where=request.name or request.serial,
            hint="'p2pctl auth list' shows them all",
            code="no-certificate",
        )
    return frozenset(found)


def _family(known: Sequence[Issued], serial: str) -> set[str]:
    family = {serial}
    for each in sorted(known, key=lambda each: each.issued_at):
        if each.renewed_from in family:
            family.add(each.serial)
    return family


def _valid_of(known: Sequence[Issued], name: str, now: float) -> list[Issued]:
    return [each for each in known if each.name == name and each.is_valid(now)]


def require_admin_left(
    known: Sequence[Issued], lost: Collection[str], *, caller: str, now: float
) -> None:
    """Refuse to take *lost* back when nobody could issue certificates after that.

    Args:
        known: What is on record.
        lost: Serial numbers.
        caller: The serial number of the admin who asks.
        now: Seconds since the epoch.

    Raises:
        RefusedError: the caller, and with it the last admin, would lose its certificate.
    """
    if caller not in lost:
        return
    if not any(ADMIN in e.roles and e.serial not in lost for e in known if e.is_valid(now)):
        raise RefusedError(
            "that is the last admin's certificate",
            hint="make another admin first; or on the control plane's machine: p2ptracker operator",
            code="last-admin",
        )


def require_room_to_refuse(refused: Collection[str], lost: Collection[str]) -> None:
    """Refuse more revoked certificates than hosts are told of; raises RefusedError."""
    if len(set(refused) | set(lost)) > REFUSED_SERIALS_MAX:
        raise RefusedError(
            f"{REFUSED_SERIALS_MAX} certificates are refused already",
            hint="so many lost keys ask for a new fleet CA",
            code="too-many-serials",
        )
