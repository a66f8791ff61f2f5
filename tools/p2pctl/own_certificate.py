"""Our own certificate: how long it still holds, and whether it is why nobody answers us."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from p2pctl.output import note
from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.trust.operator_certificate import is_issued_by, operator_certificate
from p2pdeploy.trust.tls import IdentityFiles

__all__ = ["explain_refusal", "warn_before_expiry"]

WARN_BEFORE = dt.timedelta(days=7)  # a week of holidays
_WARNED = "p2pctl.own_certificate.warned"


def warn_before_expiry(certificate: Path, *, now: dt.datetime) -> None:
    """Say on stderr, once in a command, that the certificate in *certificate* ends soon."""
    context = click.get_current_context(silent=True)
    if context is not None:
        if _WARNED in context.meta:
            return
        context.meta[_WARNED] = True
    try:
        left = operator_certificate(certificate.read_bytes()).expires_at - now
    except (OSError, P2PDeployError):
        return  # who uses it says what is wrong with it
    if dt.timedelta(0) < left < WARN_BEFORE:
        note(f"p2pctl: your certificate ends in {_spoken(left)}; 'p2pctl auth renew' replaces it")


def explain_refusal(identity: IdentityFiles, *, now: dt.datetime) -> TrustError | None:
    """Why a control plane would not talk to us, as far as our own files tell; else None."""
    try:
        pem = identity.certificate.read_bytes()
        authority = identity.authority.read_bytes()
        found = operator_certificate(pem)
    except (OSError, P2PDeployError):
        return None
    if not is_issued_by(pem, authority):
        return TrustError(
            f"our certificate, of {found.identity.fleet}, is not of this fleet",
            where=str(identity.certificate),
            hint=f"is {identity.authority} of another one? 'p2pctl auth request' asks for access",
            code="certificate-refused",
        )
    if now >= found.expires_at:
        return TrustError(
            f"our certificate expired at {found.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            where=str(identity.certificate),
            hint="'p2pctl auth request' asks an admin for another; or see 'p2ptracker operator'",
            code="certificate-refused",
        )
    return None


def _spoken(left: dt.timedelta) -> str:
    days = left.days
    return f"{days} days" if days > 1 else f"{int(left.total_seconds() // 3600)} hours"
