"""Who has approved a rollout: its ROLLOUTs, the signatures on them, and whether they are enough.

Pure, but for the arithmetic of signatures.  The same verifier judges here and on every host, so
what is enough here is enough there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import RefusedError
from p2pdeploy.limits import ENVELOPE_BYTES_MAX
from p2pdeploy.messages.api import RolloutRequest
from p2pdeploy.messages.approval import CELLS_APPROVED_MAX
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.trust.envelope import Signature, assemble, signed_part
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.signing import SigningKey

__all__ = ["Approval", "RolloutSigners"]

_ROLE = "rollout"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What people are asked to sign, and who has.

    ``payloads`` are the encoded ROLLOUTs, one for each cell in the rollout's order: the very
    bytes that are signed and that hosts get.  ``signatures`` are by key id, in that order.  From
    ``expires_at`` (seconds since the epoch) on no host takes them, however many signed.
    """

    request: RolloutRequest
    payloads: tuple[bytes, ...]
    expires_at: float
    signatures: dict[str, tuple[bytes, ...]] = {}

    def rollouts(self) -> tuple[Rollout, ...]:
        """What the payloads say."""
        return tuple(decode(p, Rollout, bytes_max=ENVELOPE_BYTES_MAX) for p in self.payloads)


class RolloutSigners:
    """Whose signatures a ROLLOUT needs, by the keys that hosts know at the time of the call.

    Args:
        verifier: Knows the keys of the role and how many of them must sign.
        keys: The control plane's own, by role; perhaps none of this one.
    """

    def __init__(self, verifier: FleetVerifier, keys: Mapping[str, SigningKey]) -> None:
        self._verifier, self._keys = verifier, keys

    def __repr__(self) -> str:
        return f"<RolloutSigners {self.threshold} of {len(self._verifier.key_ids(_ROLE))}>"

    @property
    def threshold(self) -> int:
        """How many keys must sign."""
        return self._verifier.threshold(_ROLE)

    @property
    def believed(self) -> frozenset[str]:
        """These keys by id, and those that they take over from."""
        return self._verifier.key_ids_believed(_ROLE)

    @property
    def are_taking_over(self) -> bool:
        """Whether these keys take over from others, which hosts still go by."""
        return self._verifier.is_handed_over(_ROLE)

    @property
    def is_alone_enough(self) -> bool:
        """Whether the control plane's own key approves a rollout by itself."""
        return self.threshold == 1 and self._own() is not None

    def ask(self, request: RolloutRequest, rollouts: Sequence[Rollout]) -> Approval:
        """Begin to collect signatures; the control plane's own counts if hosts know that key.

        Raises:
            RefusedError: more cells than one answer has room for signatures.
        """
        if len(rollouts) > CELLS_APPROVED_MAX:
            raise RefusedError(
                f"{len(rollouts)} cells are too many to be signed at once",
                hint=f"name targets in at most {CELLS_APPROVED_MAX} cells",
                code="too-many-cells",
            )
        approval = Approval(
            request=request,
            payloads=tuple(map(encode, rollouts)),
            expires_at=min(rollout.expires_at for rollout in rollouts),
        )
        own = self._own()
        if own is None:
            return approval
        signatures = tuple(own.sign(signed_part(Rollout, p)) for p in approval.payloads)
        return _with(approval, own.key_id, signatures)

    def take(self, approval: Approval, key_id: str, signatures: Sequence[bytes]) -> Approval:
        """The approval with one key's signatures; the same key again counts once.

        Raises:
            RefusedError: hosts do not know the key as one that approves rollouts, or it did not
                sign exactly these ROLLOUTs.
        """
        self.check(approval.payloads, key_id, signatures)
        return _with(approval, key_id, tuple(signatures))

    def check(self, payloads: Sequence[bytes], key_id: str, signatures: Sequence[bytes]) -> None:
        """Return if one key of the role signed exactly *payloads*; else as :meth:`take`."""
        if key_id not in self._verifier.key_ids(_ROLE):
            raise RefusedError(
                f"{key_id[:40]!r} is no key that approves rollouts in this fleet",
                hint="'p2pctl keys status' shows which are",
                code="not-a-signer",
            )
        fits = len(signatures) == len(payloads) and all(
            self.who_signed(payload, ((key_id, signature),))
            for payload, signature in zip(payloads, signatures, strict=True)
        )
        if not fits:
            raise RefusedError(
                f"the signature by {key_id} is not on this rollout",
                hint="'p2pctl rollout sign' makes one that is",
                code="bad-signature",
            )

    def who_signed(self, payload: bytes, signatures: tuple[Signature, ...]) -> frozenset[str]:
        """The keys of the role among those that signed *payload*, a ROLLOUT."""
        return self._verifier.signers(_ROLE, signed_part(Rollout, payload), signatures)

    def signed_by(self, approval: Approval) -> frozenset[str]:
        """The keys that count: they signed, and hosts know them still."""
        return self._verifier.key_ids(_ROLE) & approval.signatures.keys()

    def is_enough(self, approval: Approval) -> bool:
        """Whether every host would take the ROLLOUTs now."""
        return len(self.signed_by(approval)) >= self.threshold

    def envelopes(self, approval: Approval) -> tuple[bytes, ...]:
        """The ROLLOUTs as hosts get them, with the signatures that count."""
        signers = sorted(self.signed_by(approval))
        return tuple(
            assemble(Rollout, payload, tuple((k, approval.signatures[k][n]) for k in signers))
            for n, payload in enumerate(approval.payloads)
        )

    def _own(self) -> SigningKey | None:
        own = self._keys.get(_ROLE)
        return own if own is not None and own.key_id in self._verifier.key_ids(_ROLE) else None


def _with(approval: Approval, key_id: str, signatures: tuple[bytes, ...]) -> Approval:
    added = {**approval.signatures, key_id: signatures}
    return msgspec.structs.replace(approval, signatures=added)
