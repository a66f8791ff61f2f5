"""A host knows a bounded number of services, and dead names do not keep new ones out."""

from __future__ import annotations

from p2pdeploy.activation.effects import Attest, Effect, Forget, Keep, Persist
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.ids import ServiceName
from p2pdeploy.limits import SERVICES_PER_HOST_MAX
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import NEW, OLD, WEB, a_plan, a_settled, orders_of

API = ServiceName("api")
DEAD = [ServiceName(f"dead{number:02d}") for number in range(SERVICES_PER_HOST_MAX - 1)]


def full(*, running: bool = False) -> Bench:
    """Runs web, and has a record of as many other services as there may be."""
    others = [ServiceRecord(service=name, running=OLD if running else None) for name in DEAD]
    web = ServiceRecord(service=WEB, accepted_seq=2, running=OLD)
    return Bench("h3", records=[web, *others])


def forgotten(effects: list[Effect]) -> list[ServiceName]:
    return [effect.service for effect in effects if isinstance(effect, Forget)]


def known(bench: Bench) -> set[ServiceName]:
    return {record.service for record in bench.core.records()}


def test_an_absent_service_gives_way_to_a_new_one() -> None:
    bench = full()
    effects = bench.learn(*orders_of(a_plan(service=API, baseline=None)))
    assert forgotten(effects) == DEAD[:1], "one for one, in name order where all are as long absent"
    assert effects.index(Keep(DEAD[0], frozenset())) < effects.index(Forget(DEAD[0]))
    assert known(bench) == {WEB, API, *DEAD[1:]}
    accepted = [e.record.accepted_seq for e in effects if isinstance(e, Persist)]
    assert accepted == [a_plan().plan.plan_seq], "the new service goes its way"


def test_what_runs_never_gives_way() -> None:
    bench = full(running=True)
    assert forgotten(bench.learn(*orders_of(a_plan(service=API)))) == []
    assert known(bench) == {WEB, *DEAD}


def test_a_service_with_a_plan_in_flight_does_not_give_way() -> None:
    bench = full()
    for name in DEAD:
        bench.learn(*orders_of(a_plan(service=name, baseline=None)))
    assert forgotten(bench.learn(*orders_of(a_plan(service=API)))) == []
    assert API not in known(bench)


def test_a_service_that_settled_and_is_still_to_come_does_not_give_way() -> None:
    bench = Bench("h3", records=[ServiceRecord(service=name) for name in (WEB, *DEAD)])
    bench.learn(a_settled(NEW, 4))
    for number in range(SERVICES_PER_HOST_MAX):
        bench.learn(*orders_of(a_plan(service=ServiceName(f"new{number:02d}"), baseline=None)))
    assert WEB in known(bench)
    assert len(known(bench)) == SERVICES_PER_HOST_MAX


def test_a_service_that_comes_back_speaks_above_its_last_word() -> None:
    bench = full()
    first = bench.log.copy()
    bench.learn(*orders_of(a_plan(service=API, baseline=None)))
    effects = bench.learn(*orders_of(a_plan(service=DEAD[0], baseline=None)))

    def seqs(log: list[Effect]) -> list[int]:
        words = [effect.attestation for effect in log if isinstance(effect, Attest)]
        return [word.seq for word in words if word.service == DEAD[0]]

    assert min(seqs(effects)) > max(seqs(first))
