"""The production keyring: roles and thresholds, hosts and their credentials, revocation."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.testing.fleet_keys import sealed_by
from p2pdeploy.testing.orders import CELL, a_go, a_plan, a_word, abort_of, activate, rollout_of
from p2pdeploy.trust.credential import CREDENTIAL_BYTES_MAX, Credential
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.keyring import ORDER_ROLES, FleetVerifier, OrderKeys
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey, key_id_of

KEYS = {role: SigningKey.generate(role=role) for role in ORDER_ROLES}


def one(key: SigningKey) -> RoleKeys:
    return RoleKeys(threshold=1, public_keys=(key.public_key,))


ORDERS = OrderKeys("lab", {role: one(key) for role, key in KEYS.items()})
PLAN = a_plan()
WORD = msgspec.structs.replace(a_word("h1", 4, Rank.HEALTHY), epoch=(1 << 32) + 3)


def credential(host: str = "h1", **changes: object) -> tuple[Credential, SigningKey]:
    key = SigningKey.generate(key_id=f"host/{host}")
    of = Credential(
        fleet="lab",
        cell=CELL,
        host=HostName(host),
        fault_domain=WORD.fault_domain,
        enrolment=1,
        public_key=key.public_key,
    )
    return msgspec.structs.replace(of, **changes), key


def said(word: Attestation = WORD, *, by: SigningKey = KEYS["enrol"], **changes: object) -> bytes:
    of, key = credential(**changes)  # pyright: ignore[reportArgumentType]
    key.credential = seal(of, by)
    return seal(word, key)


def verifier(**enrolments: int) -> FleetVerifier:
    return FleetVerifier(ORDERS, {HostName(name): least for name, least in enrolments.items()})


@pytest.mark.parametrize("role", ["go", "deployer", "abort", "enrol"])
def test_a_stolen_online_key_cannot_change_the_release(role: str) -> None:
    with pytest.raises(TrustError):
        open_envelope(seal(rollout_of(PLAN), KEYS[role]), verifier())


def test_a_stolen_go_key_gives_go_and_stops_and_nothing_else() -> None:
    key = KEYS["go"]
    assert open_envelope(seal(a_go(activate(PLAN)), key), verifier())
    assert open_envelope(seal(abort_of(PLAN), key), verifier())
    for order in (PLAN.plan, PLAN.roster, PLAN.revert, rollout_of(PLAN)):
        with pytest.raises(TrustError):
            open_envelope(seal(order, key), verifier())


def test_a_key_that_the_fleet_does_not_know_says_nothing() -> None:
    stranger = SigningKey.generate(role="deployer")
    with pytest.raises(TrustError):
        open_envelope(seal(PLAN.plan, stranger), verifier())


def test_a_stranger_under_a_known_key_id_says_nothing() -> None:
    stranger = SigningKey.generate(key_id=KEYS["deployer"].key_id)
    with pytest.raises(TrustError):
        open_envelope(seal(PLAN.plan, stranger), verifier())


def test_two_of_three_owners_must_sign_a_rollout() -> None:
    owners = [SigningKey.generate(role="rollout") for _ in range(3)]
    keys = RoleKeys(threshold=2, public_keys=tuple(owner.public_key for owner in owners))
    judge = FleetVerifier(OrderKeys("lab", {"rollout": keys}))
    first, _, third = owners
    for too_few in ([first], [first, first], [first, KEYS["rollout"]]):
        with pytest.raises(TrustError):
            open_envelope(sealed_by(rollout_of(PLAN), *too_few), judge)
    assert open_envelope(sealed_by(rollout_of(PLAN), first, third), judge) == rollout_of(PLAN)


def test_one_key_that_signs_twice_counts_once() -> None:
    owner = SigningKey.generate(role="rollout")
    other = SigningKey.generate(role="rollout")
    keys = RoleKeys(threshold=2, public_keys=(owner.public_key, other.public_key))
    judge = FleetVerifier(OrderKeys("lab", {"rollout": keys}))
    signature = (owner.key_id, owner.sign(b"m"))
    assert not judge.enough_signed("rollout", b"m", (signature, signature))


def test_a_host_speaks_for_itself() -> None:
    judge = verifier()
    assert open_envelope(said(), judge) == WORD
    assert len(said()) < 1_000, "two fit into a datagram only if this stays small"


@pytest.mark.parametrize(
    "changes",
    [
        {"host": HostName("h2")},
        {"cell": CellId("lab.web.c1")},
        {"fault_domain": FaultDomain("elsewhere")},
        {"enrolment": 2},
        {"fleet": "another"},
    ],
)
def test_a_credential_for_something_else_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TrustError):
        open_envelope(said(**changes), verifier())  # pyright: ignore[reportArgumentType]


def test_a_credential_that_the_fleet_did_not_issue_is_refused() -> None:
    for forger in (SigningKey.generate(role="enrol"), KEYS["deployer"]):
        with pytest.raises(TrustError):
            open_envelope(said(by=forger), verifier())


def test_a_credential_without_its_key_is_refused() -> None:
    of, _ = credential()
    thief = SigningKey.generate(key_id="host/h1")
    thief.credential = seal(of, KEYS["enrol"])
    with pytest.raises(TrustError, match="not signed by"):
        open_envelope(seal(WORD, thief), verifier())


def test_a_revoked_enrolment_is_refused_though_it_was_believed_before() -> None:
    revoked: dict[HostName, int] = {}
    judge = FleetVerifier(ORDERS, revoked)
    word = said()
    assert open_envelope(word, judge) == WORD
    revoked[HostName("h1")] = 2
    with pytest.raises(TrustError, match="revoked"):
        open_envelope(word, judge)


def test_a_rotated_key_is_forgotten() -> None:
    judge = verifier()
    order = seal(PLAN.plan, KEYS["deployer"])
    assert open_envelope(order, judge) == PLAN.plan
    fresh = one(SigningKey.generate(role="deployer"))
    judge.use(OrderKeys("lab", {**ORDERS.roles, "deployer": fresh}))
    with pytest.raises(TrustError):
        open_envelope(order, judge)


def test_an_order_cannot_carry_a_credential() -> None:
    of, _ = credential()
    key = SigningKey.from_pem(KEYS["deployer"].to_pem(), role="deployer")
    key.credential = seal(of, KEYS["enrol"])
    with pytest.raises(ProtocolError):
        open_envelope(seal(PLAN.plan, key), verifier())


def test_an_attestation_without_a_credential_is_refused() -> None:
    with pytest.raises((TrustError, ProtocolError)):
        open_envelope(seal(WORD, SigningKey.generate(key_id="host/h1")), verifier())


def test_credentials_stay_below_their_limit() -> None:
    long = "x" * 63
    of, _ = credential(
        long,
        fleet=long,
        cell=CellId(".".join([long] * 3)),
        fault_domain=FaultDomain(long),
        enrolment=2**31,
    )
    assert len(seal(of, KEYS["enrol"])) <= CREDENTIAL_BYTES_MAX


def test_many_credentials_do_not_grow_memory() -> None:
    judge = verifier()
    for number in range(2_200):
        host = HostName(f"h{number}")
        of, key = credential(host)
        key.credential = seal(of, KEYS["enrol"])
        open_envelope(seal(msgspec.structs.replace(WORD, host=host), key), judge)
    assert len(judge._credentials) == 2_000


def test_while_people_take_over_either_the_old_key_or_enough_of_theirs_will_do() -> None:
    old, people = SigningKey.generate(role="rollout"), [SigningKey.generate() for _ in range(3)]
    theirs = RoleKeys(threshold=2, public_keys=tuple(key.public_key for key in people))
    before = {"rollout": one(old)}
    judge = FleetVerifier(OrderKeys("lab", before))

    def is_enough(*keys: SigningKey) -> bool:
        signed = tuple((key_id_of("rollout", key.public_key), key.sign(b"it")) for key in keys)
        return judge.enough_signed("rollout", b"it", signed)

    assert judge.use(OrderKeys("lab", {**before, "rollout-next": theirs})) == frozenset()
    assert is_enough(old)
    assert is_enough(*people[:2])
    assert not is_enough(people[0])
    assert not is_enough(people[0], people[0])
    assert judge.threshold("rollout") == 2, "who asks for signatures asks those who take over"
    assert judge.use(OrderKeys("lab", {"rollout": theirs})) == {"rollout"}
    assert not is_enough(old)
    assert not is_enough(old, people[0])
    assert is_enough(*people[1:])


def test_what_verified_before_may_not_once_a_key_leaves_or_more_must_sign() -> None:
    first, second = SigningKey.generate().public_key, SigningKey.generate().public_key

    def orders(*keys: bytes, threshold: int = 1) -> OrderKeys:
        return OrderKeys("lab", {"go": RoleKeys(threshold=threshold, public_keys=keys)})

    judge = FleetVerifier(orders(first))
    assert judge.use(orders(first, second)) == frozenset()
    assert judge.use(orders(first, second, threshold=2)) == {"go"}
    assert judge.use(orders(first, second)) == frozenset()
    assert judge.use(orders(second)) == {"go"}
    assert judge.use(OrderKeys("lab", {})) == {"go"}
