"""How a release spreads, in the head of a rollout."""

from __future__ import annotations

from p2pctl.render.swarm import swarm_lines
from p2pdeploy.ids import HostName
from p2pdeploy.messages.swarm import SourceBytes, Straggler, SwarmView

MIB = 1 << 20
DONE = SwarmView(
    size_bytes=64 * MIB,
    hosts=16,
    hosts_complete=16,
    coverage=1.0,
    received=SourceBytes(origin=64 * MIB, rack=512 * MIB, cell=448 * MIB),
    limit_s=28.0,
    p50_s=29.4,
    last_s=30.8,
    p50_x=1.05,
    last_x=1.1,
)


def straggler(number: int) -> Straggler:
    return Straggler(
        host=HostName(f"h{number:02}"), cause="link", coverage=0.25, message="1.6 Mbit/s"
    )


def text_of(swarm: SwarmView) -> str:
    return "\n".join(f"{name} {text.plain}" for name, text in swarm_lines(swarm))


def test_at_the_end_there_are_times_and_multiples() -> None:
    assert text_of(DONE) == (
        "Spread: all 16 hosts had it after 31s\n"
        "Limit: 28s; median host 1.05 x, last host 1.10 x\n"
        "Bytes from: origin 64 MiB, rack 512 MiB, cell 448 MiB"
    )


def test_on_the_way_there_is_how_far_and_who_is_behind() -> None:
    swarm = SwarmView(
        size_bytes=64 * MIB,
        hosts=32,
        hosts_complete=3,
        coverage=0.625,
        received=SourceBytes(local=MIB),
        limit_s=28.0,
        so_far_x=1.2,
        stragglers=[straggler(number) for number in range(16)],
        stragglers_more=4,
    )
    lines = text_of(swarm).splitlines()
    assert lines[:3] == [
        "Spread: 62% of all bytes; 3 of 32 hosts have all",
        "Limit: 28s; so far 1.20 x",
        "Bytes from: local 1 MiB",
    ]
    assert lines[3] == "Behind: h00 has 25%: 1.6 Mbit/s [link]"
    assert lines[-1] == " and 16 more"


def test_what_is_not_known_has_no_line() -> None:
    swarm = SwarmView(size_bytes=1, hosts=1, hosts_complete=0, coverage=0.0, received=SourceBytes())
    assert text_of(swarm) == "Spread: 0% of all bytes; 0 of 1 hosts have all"
