"""ROLLOUTs that several people must sign, against who has fewer keys: real envelopes, real core."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import a_build, a_plan, rollout_of
from p2pdeploy.trust.envelope import Signature, assemble, seal, signed_part
from p2pdeploy.trust.keyring import OrderKeys
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

APPROVED = a_plan()
ROLLOUT = rollout_of(APPROVED, failure_fraction_max=0.1)
EVIL = msgspec.structs.replace(ROLLOUT, build=a_build("evil"))


class Fleet(FleetKeys):
    """Two of three keys approve: the control plane's own, and those of two people."""

    def __init__(self) -> None:
        super().__init__()
        self.own = self.roles["rollout"]
        self.ann, self.bob = (SigningKey.generate(role="rollout") for _ in range(2))
        keys = tuple(key.public_key for key in (self.own, self.ann, self.bob))
        roles = {**self.orders.roles, "rollout": RoleKeys(threshold=2, public_keys=keys)}
        self.verifier.use(OrderKeys(self.fleet, roles))


@cache
def fleet() -> Fleet:
    return Fleet()


def signature(key: SigningKey, rollout: Rollout = ROLLOUT) -> Signature:
    return key.key_id, key.sign(signed_part(Rollout, encode(rollout)))


def envelope(*signatures: Signature, rollout: Rollout = ROLLOUT) -> bytes:
    return assemble(Rollout, encode(rollout), signatures)


def test_what_two_people_signed_starts() -> None:
    host = Bench("h3")
    for order in (APPROVED.roster, APPROVED.plan, APPROVED.revert):
        host.learn(fleet().open(fleet().seal(order)))
    host.learn(fleet().open(envelope(signature(fleet().ann), signature(fleet().bob))))
    host.ready(APPROVED, but="orders")
    assert host.starting is not None, host.why


def test_a_stolen_control_planes_key_alone_does_not_approve() -> None:
    own = fleet().own
    for alone in (seal(EVIL, own), envelope(signature(own, EVIL), rollout=EVIL)):
        with pytest.raises(TrustError, match="not enough keys"):
            fleet().open(alone)


def test_one_key_that_signs_twice_does_not_approve() -> None:
    again = (signature(fleet().own), signature(fleet().own))
    for twice in (again, (*again, ("rollout/other-name", again[0][1]))):
        with pytest.raises(TrustError, match="not enough keys"):
            fleet().open(envelope(*twice))


def test_a_signature_for_one_rollout_does_not_serve_another() -> None:
    transplanted = (signature(fleet().ann, ROLLOUT), signature(fleet().own, EVIL))
    with pytest.raises(TrustError, match="not enough keys"):
        fleet().open(envelope(*transplanted, rollout=EVIL))


def test_a_strangers_signature_does_not_count() -> None:
    stranger = SigningKey.generate(role="rollout")
    named_ann = (fleet().ann.key_id, stranger.sign(signed_part(Rollout, encode(ROLLOUT))))
    for second in (signature(stranger), named_ann):
        with pytest.raises(TrustError, match="not enough keys"):
            fleet().open(envelope(signature(fleet().own), second))


def test_the_other_keys_of_a_stolen_control_plane_do_not_approve() -> None:
    keys = [fleet().own, *(fleet().roles[role] for role in ("deployer", "go", "abort", "enrol"))]
    with pytest.raises(TrustError, match="not enough keys"):
        fleet().open(envelope(*map(signature, keys)))
