"""The attacks on release metadata, as the codes of the errors that name them."""

from __future__ import annotations

import enum

from p2pdeploy.errors import TrustError

__all__ = ["Attack", "refused"]


class Attack(enum.StrEnum):
    """Each value is the stable ``code`` of a :class:`~p2pdeploy.errors.TrustError`."""

    ROLLBACK = "release-rollback"
    """Older than what this host has seen."""
    FREEZE = "release-freeze"
    """Expired: somebody keeps the news away, or nobody signed in time."""
    MIX_AND_MATCH = "release-mix-and-match"
    """Parts that were never published together."""
    ENDLESS_DATA = "release-endless-data"
    """Larger than anything that would be signed."""
    FAST_FORWARD = "release-fast-forward"
    """A version number so high that nothing could follow it."""
    WRONG_KEY = "release-wrong-key"
    """Not one signature is by a key that may sign this."""
    BELOW_THRESHOLD = "release-below-threshold"
    """Signed by fewer keys than it takes."""
    UNKNOWN_RELEASE = "release-unknown"
    """Nobody who may sign for the service vouches for this version."""
    MALFORMED = "release-malformed"
    """No release metadata at all."""


_HINTS = {
    Attack.ROLLBACK: "if the control plane was restored from a backup, rotate the online keys",
    Attack.FREEZE: "check the clock of this host and that the control plane signs daily",
    Attack.UNKNOWN_RELEASE: "publish and sign it, or name a version that is live",
}


def refused(attack: Attack, message: str, *, where: str = "") -> TrustError:
    """The error to raise.  Nothing may be activated on what was refused; what runs, runs on.

    Args:
        attack: Which attack this looks like.
        message: What exactly does not fit.
        where: The role concerned (``root``, ``timestamp``, ``svc/NAME``...).
    """
    return TrustError(message, where=where, hint=_HINTS.get(attack, ""), code=attack.value)
