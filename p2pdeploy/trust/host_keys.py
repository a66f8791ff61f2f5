"""The keys that a host makes for itself, and its requests for certificates over them.

Apart from :mod:`~p2pdeploy.trust.host_identity` because X.509 costs memory that a running daemon
does without: joining and renewing are short programs of their own.
"""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import RenewRequest, SigningRequests, renewal_signed_part
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.signing import SigningKey

__all__ = ["LeafKeys", "new_attestation_key", "new_leaf_keys", "renewal"]


class LeafKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Two fresh private keys in PEM, and the requests for their certificates."""

    fleet_pem: bytes
    swarm_pem: bytes
    requests: SigningRequests


def new_attestation_key(host: HostName) -> SigningKey:
    """The key that a host keeps for as long as it is enrolled."""
    return SigningKey.generate(key_id=f"host/{host}")


def new_leaf_keys() -> LeafKeys:
    """Keys for the next certificates; renewing never uses a key twice."""
    fleet, swarm = new_key(), new_key()
    requests = SigningRequests(fleet=signing_request(fleet), swarm=signing_request(swarm))
    return LeafKeys(fleet_pem=key_to_pem(fleet), swarm_pem=key_to_pem(swarm), requests=requests)


def renewal(key: SigningKey, keys: LeafKeys, *, now: float) -> RenewRequest:
    """Ask for certificates over *keys* as the host of *key*; *now* in seconds since the epoch."""
    signature = key.sign(renewal_signed_part(keys.requests, now))
    return RenewRequest(
        credential=key.credential, requests=keys.requests, asked_at=now, signature=signature
    )
