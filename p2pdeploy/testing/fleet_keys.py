"""The keys of a test fleet, at hand: seals any message as whoever may say it."""

from __future__ import annotations

from collections.abc import Mapping

from p2pdeploy.codec import encode
from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import ROLE_OF, Sealed, assemble, open_envelope, seal, signed_part
from p2pdeploy.trust.keyring import ORDER_ROLES, FleetVerifier, OrderKeys
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

__all__ = ["FleetKeys", "sealed_by"]

_ENROLMENT_SHIFT = 32


def sealed_by(message: Sealed, *keys: SigningKey) -> bytes:
    """*message* in one envelope that each of *keys* signed."""
    kind, payload = type(message), encode(message)
    signatures = tuple((key.key_id, key.sign(signed_part(kind, payload))) for key in keys)
    return assemble(kind, payload, signatures)


class FleetKeys:
    """Real keys for every role and every host, real signatures.

    Args:
        fleet: Its name.
        keys: By role; made when not given.
    """

    def __init__(self, fleet: str = "lab", keys: Mapping[str, SigningKey] | None = None) -> None:
        self.fleet = fleet
        self.roles = keys or {role: SigningKey.generate(role=role) for role in ORDER_ROLES}
        self.orders = OrderKeys(
            fleet,
            {
                role: RoleKeys(threshold=1, public_keys=(self.roles[role].public_key,))
                for role in ORDER_ROLES
            },
        )
        self.verifier = FleetVerifier(self.orders)
        self._hosts: dict[HostName, SigningKey] = {}

    def seal(self, message: Sealed) -> bytes:
        """Seal *message*: an order by its role, an attestation by its host."""
        if not isinstance(message, Attestation):
            return seal(message, self.roles[ROLE_OF[type(message)]])
        credential = Credential(
            fleet=self.fleet,
            cell=message.cell,
            host=message.host,
            fault_domain=message.fault_domain,
            enrolment=message.epoch >> _ENROLMENT_SHIFT,
            public_key=self.host(message.host).public_key,
        )
        key = self.host(message.host)
        key.credential = seal(credential, self.roles["enrol"])
        return seal(message, key)

    def open(self, envelope: bytes) -> Sealed:
        """As ``open_envelope``."""
        return open_envelope(envelope, self.verifier)

    def host(self, name: HostName) -> SigningKey:
        """The attestation key of *name*, made when first asked for."""
        if name not in self._hosts:
            self._hosts[name] = SigningKey.generate(key_id=f"host/{name}")
        return self._hosts[name]
