"""What a host says it runs is what it runs, also between two orders."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.effects import Attest
from p2pdeploy.activation.events import CredentialReplaced, Staged, Woken
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_plan, abort_of, orders_of


def test_a_build_that_is_about_to_start_is_not_called_healthy() -> None:
    bench = Bench("h3")
    assert bench.said.state == "healthy"
    bench.begin(a_plan())
    word = bench.said
    assert (word.rank, word.digest, word.state) == (Rank.STARTED, NEW.digest, "starting")


def test_a_host_that_only_fetched_is_absent_when_the_first_deployment_is_called_off() -> None:
    cell_plan = a_plan(baseline=None)
    bench = Bench("h3", running=None)
    bench.learn(*orders_of(cell_plan))
    assert bench.said.state == "fetching"
    bench.learn(abort_of(cell_plan))
    assert (bench.said.rank, bench.said.state, bench.said.digest) == (Rank.HEALTHY, "absent", "")


def test_all_is_said_again_when_the_credential_was_replaced() -> None:
    """Peers that know only the newer keys refuse what was said under the older credential."""
    bench = Bench("h3")
    before = bench.said
    effects = bench.send(CredentialReplaced())
    assert effects == [Attest(msgspec.structs.replace(before, seq=before.seq + 1))]
    assert not [e for e in bench.send(Woken()) if isinstance(e, Attest)], "once"


def test_the_bytes_that_are_told_are_those_of_the_order_that_is_told() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(a_plan()))
    bench.send(Staged(service=WEB, digest=NEW.digest, fetched_bytes=7, reused_bytes=3))
    assert (bench.said.fetched_bytes, bench.said.reused_bytes) == (7, 3)
    same_bytes = msgspec.structs.replace(NEW, version="3")
    later = a_plan(build=same_bytes, after=4)
    bench.learn(*orders_of(later))
    assert (bench.said.plan_seq, bench.said.rank) == (later.plan.plan_seq, Rank.STAGED)
    assert (bench.said.fetched_bytes, bench.said.reused_bytes) == (0, 0)


def test_a_way_back_goes_on_telling_what_its_plan_fetched() -> None:
    cell_plan = a_plan()
    bench = Bench("h3")
    bench.learn(*orders_of(cell_plan))
    bench.send(Staged(service=WEB, digest=NEW.digest, fetched_bytes=7))
    bench.learn(abort_of(cell_plan))
    assert bench.said.plan_seq == cell_plan.plan.plan_seq + 1
    bench.send(Staged(service=WEB, digest=OLD.digest, fetched_bytes=100))
    assert bench.said.fetched_bytes == 7


def test_what_a_later_attempt_fetches_is_added() -> None:
    bench = Bench("h3")
    bench.learn(*orders_of(a_plan()))
    for _ in range(2):
        bench.send(Staged(service=WEB, digest=NEW.digest, fetched_bytes=7))
    assert bench.said.fetched_bytes == 14
