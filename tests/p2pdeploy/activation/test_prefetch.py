"""PREFETCH: bytes come ahead of a rollout and stay; nothing starts because of them."""

from __future__ import annotations

from typing import Any

import pytest

from p2pdeploy.activation.effects import Keep, Stage, StopStaging, Wake
from p2pdeploy.activation.events import OrdersRefused, StagingFailed
from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import CellId, Digest, HostName, Version
from p2pdeploy.limits import PREFETCH_KEEP_MAX_S, PREFETCHES_MAX
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.messages.orders import Build, Prefetch, Prefetched
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import CELL, EPOCH_S, NEW, OLD, WEB, a_plan, orders_of

NEXT = Build(version=Version("3"), digest=Digest("3" * 64))
HOUR_S = 3600.0


def prefetch(*builds: Build, seq: int = 1, for_s: float = HOUR_S, **changes: Any) -> Prefetch:
    fields: dict[str, Any] = {"hosts": ()}
    asked = {key: changes.pop(key) for key in ("hosts",) if key in changes}
    return Prefetch(
        cell=changes.pop("cell", CELL),
        service=WEB,
        prefetch_seq=seq,
        issued_at=EPOCH_S,
        builds=tuple(
            Prefetched(build=b, not_after=EPOCH_S + for_s, **{**fields, **asked}) for b in builds
        ),
        **changes,
    )


def kept(bench: Bench) -> frozenset[Digest]:
    return [effect for effect in bench.log if isinstance(effect, Keep)][-1].digests


def staged(effects: list[Any]) -> list[Build]:
    return [effect.build for effect in effects if isinstance(effect, Stage)]


@pytest.mark.parametrize("running", [OLD, None])
def test_a_prefetch_stages_and_never_activates(running: Build | None) -> None:
    bench = Bench(running=running)
    before, runs = bench.record, len(bench.runs)
    assert staged(bench.learn(prefetch(NEW, NEXT))) == [NEW]
    assert kept(bench) >= {NEW.digest, NEXT.digest}
    assert staged(bench.stage(NEW)) == [NEXT], "one after the other"
    bench.stage(NEXT)
    bench.see("h1", "h2", "h3")
    bench.wait(600)
    assert bench.said.prefetched == (NEW.digest, NEXT.digest)
    assert (bench.said.rank, bench.said.fetched_bytes) == (Rank.NONE, 0)
    assert bench.said.state == ("healthy" if running else "absent")
    assert bench.changes == []
    assert len(bench.runs) == runs
    assert bench.record == before, "nothing was accepted"
    assert bench.why == ""


def test_an_expired_prefetch_is_refused_and_so_is_one_without_an_end() -> None:
    for for_s in (0.0, -1.0, PREFETCH_KEEP_MAX_S + 1, float("inf"), float("nan")):
        bench = Bench()
        assert staged(bench.learn(prefetch(NEW, for_s=for_s))) == []
        assert bench.stages == []
        assert bench.said.prefetched == ()


def test_what_is_prefetched_is_kept_until_its_time_is_over() -> None:
    bench = Bench()
    effects = bench.learn(prefetch(NEW))
    assert [e.at_boot_s for e in effects if isinstance(e, Wake)] == [bench.boot_s + HOUR_S]
    bench.stage(NEW)
    bench.wait(HOUR_S - 1)
    assert NEW.digest in kept(bench)
    assert bench.said.prefetched == (NEW.digest,)
    bench.wait(1)
    assert NEW.digest not in kept(bench)
    assert bench.said.prefetched == ()


def test_its_time_ends_once_though_a_change_is_under_way() -> None:
    bench = Bench()
    bench.learn(prefetch(NEXT))
    bench.begin(a_plan())
    later = [e for e in bench.wait(HOUR_S) if isinstance(e, Wake)]
    assert NEXT.digest not in kept(bench)
    assert not [wake for wake in later if wake.at_boot_s <= bench.boot_s], "no busy loop"


def test_a_newer_prefetch_without_it_cancels_what_is_being_fetched() -> None:
    bench = Bench()
    bench.learn(prefetch(NEW))
    effects = bench.learn(prefetch(seq=2))
    assert StopStaging(WEB) in effects
    assert NEW.digest not in kept(bench)
    assert bench.learn(prefetch(NEW)) == [], "the older one does not come back"


def test_it_concerns_the_hosts_that_it_names_and_this_cell_alone() -> None:
    bench = Bench("h3")
    assert staged(bench.learn(prefetch(NEW, hosts=(HostName("h1"),)))) == []
    assert staged(bench.learn(prefetch(NEW, seq=2, cell=CellId("lab.db.c0")))) == []
    assert staged(bench.learn(prefetch(NEW, seq=3, hosts=(HostName("h3"),)))) == [NEW]


def test_a_plan_fetches_first_and_what_is_prefetched_goes_on_after() -> None:
    bench = Bench()
    bench.learn(prefetch(NEXT))
    effects = bench.learn(*orders_of(a_plan()))
    assert staged(effects) == [NEW], "it takes the place of what was being fetched"
    assert kept(bench) >= {NEW.digest, NEXT.digest}
    assert staged(bench.stage(NEW)) == [NEXT]


def test_a_release_that_was_prefetched_is_judged_again_when_a_plan_asks_for_it() -> None:
    bench = Bench()
    bench.learn(prefetch(NEW))
    bench.stage(NEW)
    assert staged(bench.learn(*orders_of(a_plan()))) == [NEW], "publishers may have taken it back"
    assert bench.said.rank == Rank.ACCEPTED
    bench.stage(NEW)
    assert bench.said.rank == Rank.STAGED


def test_a_prefetch_does_not_replace_anything_that_a_plan_asks_for() -> None:
    bench = Bench()
    bench.ready(a_plan(), but="go")
    assert bench.starting is None
    bench.learn(prefetch(NEW, NEXT))
    bench.stage(NEXT)
    assert bench.starting is None, "no lease covers it"
    assert bench.why == "no-go"


def test_what_keeps_a_prefetch_from_coming_is_told_to_the_cell() -> None:
    bench = Bench()
    bench.learn(prefetch(NEW))
    bench.send(
        StagingFailed(service=WEB, digest=NEW.digest, code="disk-full", reason="too little room")
    )
    assert bench.said.reason_code == "disk-full"
    bench.stage(NEW)
    assert bench.said.reason_code == ""


def test_it_goes_when_its_key_does() -> None:
    bench = Bench()
    bench.learn(prefetch(NEW))
    effects = bench.send(OrdersRefused(("prefetch/web",)))
    assert StopStaging(WEB) in effects
    assert NEW.digest not in kept(bench)


def test_more_builds_than_a_cell_may_prefetch_are_no_order() -> None:
    builds = [Build(version=Version(f"{n}"), digest=Digest(f"{n}" * 64)) for n in range(5)]
    assert len(builds) > PREFETCHES_MAX
    with pytest.raises(ProtocolError):
        decode(encode(prefetch(*builds)), Prefetch, bytes_max=10_000)
