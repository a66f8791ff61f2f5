"""Where a service listens and since when it is so, also of what is sick or absent."""

from __future__ import annotations

from p2pdeploy.activation.events import ServiceBroke
from p2pdeploy.activation.record import ServiceRecord
from p2pdeploy.testing.activation_bench import Bench
from p2pdeploy.testing.orders import EPOCH_S, OLD, WEB, a_plan, orders_of


def test_a_service_that_was_adopted_unhealthy_shows_its_port() -> None:
    record = ServiceRecord(service=WEB, accepted_seq=2, running=OLD)
    bench = Bench("h3", running=None, records=[record])
    bench.send(ServiceBroke(service=WEB, code="never-healthy", reason="-", port=8123))
    assert (bench.said.state, bench.said.port) == ("failed", 8123)


def test_a_service_that_broke_without_a_word_on_its_port_keeps_the_known_one() -> None:
    bench = Bench("h3")
    port = bench.said.port
    assert port
    bench.send(ServiceBroke(service=WEB, code="crash-loop", reason="-"))
    assert bench.said.port == port


def test_an_absent_service_says_since_when() -> None:
    bench = Bench("h3", running=None)
    assert bench.said.state == "absent"
    assert bench.said.since == EPOCH_S


def test_a_service_that_was_just_heard_of_is_absent_since_then() -> None:
    bench = Bench("h3", running=None, records=[])
    bench.learn(orders_of(a_plan(baseline=None))[0])
    assert (bench.said.state, bench.said.since) == ("absent", EPOCH_S)
