"""Join tokens: one string that lets one host into one fleet, once.

``p2pjoin1.`` and base64url of a :class:`JoinToken`.  It is a password: whoever has it first joins
as that host.  It also carries the fingerprint of the fleet CA, so that the host tells its control
plane from anybody else who answers at that address.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError, TrustError
from p2pdeploy.ids import HostName, check_label
from p2pdeploy.messages.enrolment import JOIN_SECRET_BYTES

__all__ = ["FINGERPRINT_BYTES", "JoinToken", "read_join_token", "show_join_token"]

_PREFIX = "p2pjoin1."
_TEXT_CHARACTERS_MAX = 1_024  # an address, a name and 64 bytes are 250
FINGERPRINT_BYTES = 32  # SHA-256

_Secret = Annotated[bytes, msgspec.Meta(min_length=JOIN_SECRET_BYTES, max_length=JOIN_SECRET_BYTES)]
_Fingerprint = Annotated[
    bytes, msgspec.Meta(min_length=FINGERPRINT_BYTES, max_length=FINGERPRINT_BYTES)
]


class JoinToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``api`` is the control plane's URL; empty: to be found on the LAN.

    ``fingerprint``: SHA-256 of the fleet CA's certificate in DER.
    """

    host: HostName
    api: str
    fingerprint: _Fingerprint
    secret: _Secret

    def __repr__(self) -> str:
        return f"<JoinToken of {self.host} at {self.api or 'the LAN'}>"  # never the secret


def show_join_token(token: JoinToken) -> str:
    """The one string that people copy."""
    return _PREFIX + base64.urlsafe_b64encode(encode(token)).decode().rstrip("=")


def read_join_token(text: str) -> JoinToken:
    """Read what :func:`show_join_token` wrote.

    Raises:
        TrustError: it is something else, or was cut while copying.
    """
    text = text.strip()
    try:
        if not text.startswith(_PREFIX) or len(text) > _TEXT_CHARACTERS_MAX:
            raise ValueError("no prefix")
        packed = text.removeprefix(_PREFIX)
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        token = decode(data, JoinToken, bytes_max=_TEXT_CHARACTERS_MAX)
        check_label(token.host, "host name")
    except (ValueError, binascii.Error, P2PDeployError) as error:
        raise TrustError(
            "this is no join token, or not all of it",
            hint=f"it is one word that begins with {_PREFIX}",
            code="bad-join-token",
        ) from error
    return token
