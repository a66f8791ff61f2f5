"""One tree of errors, split by who must act.

Every error carries one plain sentence, the place it concerns and what to do about it, because
the text reaches an operator unchanged.  ``code`` is stable: scripts and the HTTP API rely on it.

==================  ===================================================================
class               who acts
==================  ===================================================================
ConfigError         the operator corrects a file, a flag or an environment variable
PayloadError        the author of the payload corrects its tree or its service.toml
RefusedError        the caller asked for something a rule forbids; nothing was changed
NotFoundError       the caller named something that does not exist
ProtocolError       a peer sent bytes that break the protocol; the message is dropped
TrustError          the peer could not prove who it is; the message is dropped
IntegrityError      bytes are wrong; never fetch them from the same source again
UnavailableError    something is down or full right now; retry with backoff
==================  ===================================================================
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConfigError",
    "IntegrityError",
    "NotFoundError",
    "P2PDeployError",
    "PayloadError",
    "ProtocolError",
    "RefusedError",
    "TrustError",
    "UnavailableError",
]


class P2PDeployError(Exception):
    """Root of every error this product raises on purpose.

    Args:
        message: One sentence: what is wrong.
        where: The file, line, key, host or URL it concerns; empty when the message says it.
        hint: What to do about it; empty when there is nothing better than the message.
        code: Overrides the class's stable code with a more precise one, such as ``digest-differs``.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, where: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        if code:
            self.code = code

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{advice}"


class ConfigError(P2PDeployError):
    """A configuration file, flag or environment variable is wrong; nothing was started."""

    code = "config"
    exit_code = 2
    http_status = 400


class PayloadError(P2PDeployError):
    """A payload tree or its service.toml breaks the payload contract; nothing was published."""

    code = "payload"
    http_status = 422


class RefusedError(P2PDeployError):
    """A rule forbids what was asked; nothing was changed."""

    code = "refused"
    http_status = 409


class NotFoundError(P2PDeployError):
    """The service, version, rollout or host that was named does not exist."""

    code = "not-found"
    http_status = 404


class ProtocolError(P2PDeployError):
    """A peer sent bytes that break the protocol; the message was dropped, no state changed."""

    code = "protocol"
    http_status = 400


class TrustError(P2PDeployError):
    """A token, a MAC or a signature is missing or wrong; the message was dropped."""

    code = "unauthorised"
    http_status = 401


class IntegrityError(P2PDeployError):
    """Bytes do not have the digest they must have; they were not used."""

    code = "integrity"
    http_status = 422


class UnavailableError(P2PDeployError):
    """Something is down, full or unreachable right now; try again later."""

    code = "unavailable"
    http_status = 503
