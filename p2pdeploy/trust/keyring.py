"""The keys that may speak in a fleet, and the verifier that every program judges envelopes with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import Signature, open_envelope
from p2pdeploy.trust.role_keys import OrderRoles
from p2pdeploy.trust.signing import is_signed, key_id_of

__all__ = ["NEXT", "ORDER_ROLES", "FleetVerifier", "OrderKeys"]

ORDER_ROLES = ("rollout", "deployer", "go", "abort", "enrol")
NEXT = "-next"
"""``ROLE-next`` says who takes over from ``ROLE``: until that is done either of the two will do."""
# A cell's hosts, twice: one that was enrolled anew has two credentials for a while.
_CREDENTIALS_KEPT_MAX = 2 * CELL_HOSTS_MAX
_ENROLMENT_SHIFT = 32  # messages/attestation.py: the upper half of an epoch


class OrderKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may sign what in *fleet*: the roles of :data:`ORDER_ROLES` and their keys.

    ``ROLE-next`` beside a role stands for others, who take over from it.
    """

    fleet: str
    roles: OrderRoles


class _Signers(msgspec.Struct, frozen=True):
    """Keys by id, and how many of them are enough."""

    keys: dict[str, bytes]
    threshold: int

    def who_signed(self, message: bytes, signatures: tuple[Signature, ...]) -> frozenset[str]:
        return frozenset(
            key_id
            for key_id, signature in signatures
            if key_id in self.keys and is_signed(self.keys[key_id], message, signature)
        )

    def admits(self, other: _Signers) -> bool:
        """Whether whatever is enough for *other* is enough here."""
        return self.threshold <= other.threshold and other.keys.items() <= self.keys.items()


_NOBODY = _Signers({}, 1)


def _by_role(orders: OrderKeys) -> dict[str, tuple[_Signers, ...]]:
    """Of each role who may sign; while others take over, either of the two will do."""
    found: dict[str, tuple[_Signers, ...]] = {}
    for role in orders.roles:
        if not role.endswith(NEXT):
            both = [orders.roles[name] for name in (role, role + NEXT) if name in orders.roles]
            found[role] = tuple(
                _Signers({key_id_of(role, key): key for key in each.public_keys}, each.threshold)
                for each in both
            )
    return found


class FleetVerifier:
    """Judges envelopes by the public keys of one fleet.

    Args:
        orders: Keys by role.
        enrolments: The least enrolment that is believed of a host; of others 0.  Read at each
            look, so the owner may change it (a revocation).
    """

    def __init__(self, orders: OrderKeys, enrolments: Mapping[HostName, int] | None = None) -> None:
        self._fleet = orders.fleet
        self._enrolments = {} if enrolments is None else enrolments
        self._credentials: dict[bytes, Credential] = {}  # verified; the newest stands last
        self._roles: dict[str, tuple[_Signers, ...]] = {}
        self.use(orders)

    def __repr__(self) -> str:
        return f"<FleetVerifier of {self._fleet}>"

    def use(self, orders: OrderKeys) -> frozenset[str]:
        """Take other keys from now on, after a rotation.

        Credentials that were verified are verified anew when the keys that seal them changed.

        Returns:
            The roles of which something that verified before may not verify any more.
        """
        assert orders.fleet == self._fleet, "keys of another fleet"
        before, self._roles = self._roles, _by_role(orders)
        if self._roles.get("enrol") != before.get("enrol"):
            self._credentials.clear()
        return frozenset(role for role in before if self._is_stricter(role, before[role]))

    def _is_stricter(self, role: str, before: tuple[_Signers, ...]) -> bool:
        after = self._roles.get(role, ())
        return not all(any(now.admits(old) for now in after) for old in before)

    def enough_signed(self, role: str, message: bytes, signatures: tuple[Signature, ...]) -> bool:
        """As :class:`~p2pdeploy.trust.envelope.Verifier` asks; each key counts once."""
        return any(
            len(each.who_signed(message, signatures)) >= each.threshold
            for each in self._roles.get(role, ())
        )

    def signers(
        self, role: str, message: bytes, signatures: tuple[Signature, ...]
    ) -> frozenset[str]:
        """The keys of *role* that signed *message*, by id; others do not count."""
        return self._newest(role).who_signed(message, signatures)

    def key_ids(self, role: str) -> frozenset[str]:
        """The keys that sign in *role* from now on."""
        return frozenset(self._newest(role).keys)

    def key_ids_believed(self, role: str) -> frozenset[str]:
        """The same, and the keys of before as long as these count."""
        return frozenset(key_id for each in self._roles.get(role, ()) for key_id in each.keys)

    def is_handed_over(self, role: str) -> bool:
        """Whether other keys take over in *role*, while those of before still count."""
        return len(self._roles.get(role, ())) > 1

    def threshold(self, role: str) -> int:
        """How many of them must sign."""
        return self._newest(role).threshold

    def _newest(self, role: str) -> _Signers:
        return self._roles.get(role, (_NOBODY,))[-1]

    def believed(self, credential: bytes) -> Credential:
        """Open a sealed *credential* whose bearer is believed now.

        Raises:
            TrustError: it is not this fleet's, or was revoked (``revoked``).
            ProtocolError: it is malformed.
        """
        by = self._credential(credential)
        if by.enrolment < self._enrolments.get(by.host, 0):
            raise TrustError(f"enrolment {by.enrolment} of {by.host!r} is revoked", code="revoked")
        return by

    def check_host(
        self,
        word: Attestation,
        message: bytes,
        signatures: tuple[Signature, ...],
        credential: bytes,
    ) -> None:
        """As :class:`~p2pdeploy.trust.envelope.Verifier` asks.

        Raises:
            TrustError: the credential is not this fleet's, was revoked, is another host's, cell's
                or enrolment's, or the signature is not by its key.
            ProtocolError: the credential is malformed.
        """
        by = self.believed(credential)
        enrolment = word.epoch >> _ENROLMENT_SHIFT
        said = (word.cell, word.host, word.fault_domain, enrolment)
        if said != (by.cell, by.host, by.fault_domain, by.enrolment):
            raise TrustError(f"{by.host!r} speaks as {word.host!r} of {word.cell!r}")
        if len(signatures) != 1 or not is_signed(by.public_key, message, signatures[0][1]):
            raise TrustError(f"not signed by {by.host!r}", code="bad-signature")

    def _credential(self, sealed: bytes) -> Credential:
        known = self._credentials.get(sealed)
        if known is not None:
            return known
        opened = open_envelope(sealed, self)
        if not isinstance(opened, Credential) or opened.fleet != self._fleet:
            raise TrustError("no credential of this fleet")
        if len(self._credentials) >= _CREDENTIALS_KEPT_MAX:
            del self._credentials[next(iter(self._credentials))]
        self._credentials[sealed] = opened
        return opened
