"""Signing keys that come and go: the API's documents between p2pctl and the control plane.

``GET /v1/keys`` says how every key stands (:class:`KeyView`).

``POST /v1/keys/{role}/rotation`` with a :class:`RotationRequest` makes the next step of a rotation.
What must be signed with a key that lies offline comes back as proposals, in state ``unsigned``:
p2pctl looks at them, signs them, and posts the same request again with them in ``signed``.
``POST /v1/keys/{role}/renewal`` and ``POST /v1/keys/renewal/{service}`` with a
:class:`RenewalRequest` have what expires signed again, in the same way.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from p2pdeploy.messages.api import Document

__all__ = [
    "ROTATION_BYTES_MAX",
    "KeyPlace",
    "KeyView",
    "RenewalRequest",
    "RotationAnswer",
    "RotationRequest",
    "RotationState",
]

ROTATION_BYTES_MAX = 2 * 1024 * 1024  # a root and a targets document of 512 KiB in Base64
_KEYS_MAX = 16
_PUBLIC_KEY_BYTES = 32
_PROPOSALS_MAX = 2  # a root, and targets that its new keys sign

_PublicKey = Annotated[
    bytes, msgspec.Meta(min_length=_PUBLIC_KEY_BYTES, max_length=_PUBLIC_KEY_BYTES)
]

KeyPlace = Literal["here", "offline", "elsewhere", "missing"]
RotationState = Literal["unsigned", "announced", "sealing", "done"]
"""``unsigned``: nothing has changed, a key that lies offline must sign.  ``announced``: hosts learn
who takes over.  ``sealing``: the new keys sign, the old ones still count.  ``done``."""


class KeyView(Document, frozen=True):
    """One role, or a service (``svc/NAME``): who signs in it, and where that key is.

    ``place``: ``here`` is the control plane's folder; people have what is ``elsewhere``.
    ``key_ids`` and ``threshold`` as hosts know them; ``next_key_ids`` are who takes over.
    ``expires_at``: until when the document holds that the role signs; of orders nothing expires.
    ``state`` and ``next_at``: where a rotation stands, and when its next step may be made.
    ``unsigned_rollouts``: what stands, and needs signatures of who takes over before that ends.
    """

    role: str
    key_ids: tuple[str, ...]
    threshold: int
    place: KeyPlace
    belongs: str
    stolen: str
    expires_at: datetime | None = None
    state: RotationState = "done"
    next_at: datetime | None = None
    next_key_ids: tuple[str, ...] = ()
    unsigned_rollouts: tuple[str, ...] = ()


class RotationRequest(Document, frozen=True, forbid_unknown_fields=True):
    """Begin or finish a rotation.

    ``public_keys`` and ``threshold``: who takes over; without them the control plane makes a key.
    ``finish``: the old keys count no more.  ``signed``: the proposals of an ``unsigned`` answer.
    ``abandon_standing``: finish though rollouts stand that only keys which leave have approved.
    """

    public_keys: Annotated[tuple[_PublicKey, ...], msgspec.Meta(max_length=_KEYS_MAX)] = ()
    threshold: Annotated[int, msgspec.Meta(ge=1, le=_KEYS_MAX)] = 1
    finish: bool = False
    abandon_standing: bool = False
    signed: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=_PROPOSALS_MAX)] = ()


class RenewalRequest(Document, frozen=True, forbid_unknown_fields=True):
    """Sign a document again.  ``signed``: the proposals of an ``unsigned`` answer."""

    signed: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=_PROPOSALS_MAX)] = ()


class RotationAnswer(Document, frozen=True):
    """Where the rotation stands now.

    ``proposals`` (unsigned) are ``p2pdeploy.trust.releases.proposals.Proposal`` and ``bundle`` what
    they follow.  ``next_at``: when the next step may be made; ``by_itself``: the control plane
    makes it then.  ``unsigned_rollouts``: what has to be signed by these keys before the end.
    """

    role: str
    state: RotationState
    key_ids: tuple[str, ...]
    next_at: datetime | None = None
    by_itself: bool = True
    proposals: tuple[bytes, ...] = ()
    bundle: bytes = b""
    unsigned_rollouts: tuple[str, ...] = ()
