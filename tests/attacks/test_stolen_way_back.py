"""What a thief of the deployer key can do with REVERT and SETTLED, which a host whose service is
down takes without any GO."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.activation.events import Activated, ServiceBroke
from p2pdeploy.ids import HostName
from p2pdeploy.messages.orders import Order, Revert, Rollout, Settled, Target
from p2pdeploy.testing.activation_bench import Bench, on_new
from p2pdeploy.testing.orders import NEW, OLD, WEB, abort_of
from tests.attacks.thief import (
    APPROVED,
    APPROVED_HOSTS,
    EVIL,
    NAN,
    ROLLOUT,
    SEQ,
    first_name,
    settled_as,
    through_the_verifier,
)

# None of these is as the ROLLOUT says, which a REVERT and a SETTLED must be.
CHANGES: list[dict[str, object]] = [
    {"build": EVIL},
    {"build": None},
    {"bare": (HostName("h3"),)},
    {"max_unavailable": ROLLOUT.max_unavailable + 1},
    {"activation_max_s": ROLLOUT.activation_max_s + 1},
    {"clock_error_s": 0.0},
]

# -- the way back, and what settles -----------------------------------------------------------


def goes_back(revert: Revert, *, under: Rollout = ROLLOUT, me: str = "h3") -> tuple[bool, str]:
    """Whether a host whose service broke takes *revert*: that needs no GO."""
    host = Bench(me)
    host.learn(*map(through_the_verifier, (under, APPROVED.roster, APPROVED.plan, revert)))
    host.ready(APPROVED, but="orders")
    if host.starting is not None:
        host.persisted()
        host.send(Activated(service=WEB, started=host.starting))
    host.learn(through_the_verifier(abort_of(APPROVED)))
    host.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    for build in (OLD, EVIL):
        host.stage(build)
    started = host.starting
    return started is not None and started.plan_seq == revert.plan_seq, host.why


def test_the_honest_way_back_is_taken() -> None:
    assert goes_back(APPROVED.revert) == (True, "")


@pytest.mark.parametrize(
    "change", [*CHANGES, {"activation_max_s": NAN}, {"lease_s": 3_600.0}], ids=first_name
)
def test_a_stolen_deployer_key_cannot_change_the_way_back(change: dict[str, object]) -> None:
    forged = msgspec.structs.replace(APPROVED.revert, **change)
    assert goes_back(forged) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_install_on_who_had_nothing() -> None:
    bare = msgspec.structs.replace(ROLLOUT, bare=(HostName("h3"),))
    honest = msgspec.structs.replace(APPROVED.revert, bare=bare.bare)
    assert goes_back(honest, under=bare) == (True, "")
    assert goes_back(APPROVED.revert, under=bare) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_send_others_back() -> None:
    others = tuple(host for host in APPROVED_HOSTS if host != "h3")
    narrow = msgspec.structs.replace(ROLLOUT, target=Target(hosts=others), baseline=EVIL)
    revert = msgspec.structs.replace(APPROVED.revert, build=EVIL)
    assert goes_back(revert, under=narrow) == (False, "outside-rollout")


def late(
    settled: Settled, *, under: Rollout = ROLLOUT, after: tuple[Order, ...] = (), me: str = "h3"
) -> tuple[bool, str]:
    """Whether a host whose service is down takes *settled*, for which it needs no GO."""
    host = Bench(me)
    host.learn(*map(through_the_verifier, (*after, under)))
    host.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    host.learn(through_the_verifier(settled))
    for build in (NEW, OLD, EVIL):
        host.stage(build)
    return host.starting is not None, host.why


def test_the_honest_end_is_taken() -> None:
    assert late(settled_as(NEW)) == (True, "")
    from_baseline = msgspec.structs.replace(ROLLOUT, baseline=EVIL)
    assert late(settled_as(EVIL), under=from_baseline) == (True, "")


@pytest.mark.parametrize("change", [*CHANGES, {"rollout_id": "r2"}], ids=first_name)
def test_a_stolen_deployer_key_cannot_change_what_settled(change: dict[str, object]) -> None:
    started, why = late(msgspec.structs.replace(settled_as(NEW), **change))
    assert not started
    assert why in ("outside-rollout", "rollout-unknown")


def test_what_settled_until_no_time_has_expired() -> None:
    settled = msgspec.structs.replace(settled_as(NEW), not_after=NAN)
    assert late(settled) == (False, "settled-expired")


def test_a_stolen_deployer_key_cannot_settle_a_build_beyond_its_target() -> None:
    only = Target(hosts=APPROVED_HOSTS[:2])
    assert HostName("h3") not in only.hosts
    narrow = msgspec.structs.replace(ROLLOUT, target=only, baseline=EVIL)
    assert late(settled_as(NEW), under=narrow) == (False, "outside-rollout")
    assert late(settled_as(EVIL), under=narrow) == (False, "outside-rollout")
    known = msgspec.structs.replace(narrow, settled_hosts=(HostName("h3"),))
    assert late(settled_as(EVIL), under=known) == (True, ""), "the baseline had settled there"
    assert late(settled_as(NEW), under=known) == (False, "outside-rollout")


def test_a_stolen_deployer_key_cannot_settle_what_was_aborted() -> None:
    again = settled_as(NEW, plan_seq=SEQ + 2)
    assert late(again) == (True, "")
    assert late(again, after=(abort_of(APPROVED),)) == (False, "outside-rollout")


def test_a_stolen_deployer_key_does_not_let_an_aborted_build_start_again() -> None:
    host = on_new(APPROVED)
    host.learn(through_the_verifier(abort_of(APPROVED)))
    assert (host.runs[-1].build, host.runs[-1].start) == (NEW, False)
    host.learn(through_the_verifier(settled_as(NEW, plan_seq=SEQ + 2)))
    assert (host.runs[-1].build, host.runs[-1].start) == (NEW, False)
    assert not Bench("h3", records=[host.record]).runs[-1].start
