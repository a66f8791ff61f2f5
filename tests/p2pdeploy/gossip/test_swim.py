"""Traces of one host's membership: event in, effects out."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from p2pdeploy.gossip.beliefs import Beliefs
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.effects import (
    Call,
    MemberChanged,
    ProbeDue,
    RelayTimedOut,
    Say,
    SetTimer,
    Spread,
    SuspicionExpired,
)
from p2pdeploy.gossip.members import UNHEARD
from p2pdeploy.gossip.suspicion import LocalHealth, Suspicion
from p2pdeploy.gossip.swim import Swim
from p2pdeploy.ids import HostName
from p2pdeploy.messages.gossip import (
    Ack,
    Member,
    MemberRumour,
    Nack,
    Ping,
    PingRequest,
    Status,
)
from p2pdeploy.testing.gossip_world import PORT, a_member

CONFIG = GossipConfig()
ME = a_member(1)


class Host:
    """Host 1 of a cell of *size*, that has heard all the others."""

    def __init__(self, size: int = 6) -> None:
        self.beliefs = Beliefs(ME, CONFIG)
        for number in range(1, size + 1):
            self.beliefs.rumour_heard(MemberRumour(a_member(number)), 0.0)
        self.swim = Swim(self.beliefs, CONFIG, Random(1))

    def probe(self, now: float) -> tuple[Member, int]:
        """Begin a probe; return whom and under which token."""
        pings = [e for e in self.swim.probe_due(now) if isinstance(e, Say)]
        assert len(pings) == 1
        ping = pings[0].message
        assert isinstance(ping, Ping)
        target = self.beliefs.members.get(ping.target)
        assert target is not None
        assert (pings[0].address, pings[0].port) == (target.address, PORT)
        return target, ping.token

    def status(self, name: HostName) -> Status:
        member = self.beliefs.members.get(name)
        assert member is not None
        return member.status


def believed(member: Member, status: Status, incarnation: int = 0) -> Member:
    return msgspec.structs.replace(member, status=status, incarnation=incarnation)


def test_a_probe_that_is_answered_leaves_no_doubt() -> None:
    host = Host()
    target, token = host.probe(1.0)
    assert host.swim.acked(token) == []
    assert host.swim.probe_timed_out(token) == [], "the timer is recognised as outdated"
    host.swim.probe_due(2.0)
    assert host.status(target.name) is Status.ALIVE
    assert host.beliefs.health.score == 0


def test_a_round_of_probes_meets_everybody_once() -> None:
    host = Host(size=6)
    met: list[HostName] = []
    for second in range(5):
        target, token = host.probe(float(second))
        met.append(target.name)
        host.swim.acked(token)
    assert sorted(met) == [a_member(n).name for n in range(2, 7)]


def test_silence_makes_three_others_and_a_stream_try() -> None:
    host = Host()
    target, token = host.probe(1.0)
    effects = host.swim.probe_timed_out(token)
    asked = [e for e in effects if isinstance(e, Say)]
    request = PingRequest(token, target.name, target.address, PORT)
    assert [e.message for e in asked] == [request] * 3
    assert target.address not in {e.address for e in asked}
    assert effects[-1] == Call(target.address, PORT, Ping(token, target.name))
    host.swim.acked(token)
    host.swim.probe_due(2.0)
    assert host.status(target.name) is Status.ALIVE


def test_nobody_reaching_it_makes_a_suspect_and_all_nacks_keep_my_health() -> None:
    host = Host()
    target, token = host.probe(1.0)
    host.swim.probe_timed_out(token)
    for _ in range(3):
        host.swim.nacked(token)
    effects = host.swim.probe_due(2.0)
    accused = believed(target, Status.SUSPECT)
    assert effects[:2] == [Spread(MemberRumour(accused, ME.name)), MemberChanged(accused)]
    assert host.beliefs.health.score == 0


def test_missing_nacks_blame_myself_and_slow_my_probes_down() -> None:
    host = Host()
    _, token = host.probe(1.0)
    host.swim.probe_timed_out(token)
    host.swim.nacked(token)
    effects = host.swim.probe_due(2.0)
    assert host.beliefs.health.score == 2
    assert SetTimer(ProbeDue(), 5.0) in effects
    assert [e.at for e in effects if isinstance(e, SetTimer)][-1] == 3.5


def test_an_answered_probe_restores_my_health() -> None:
    host = Host()
    host.beliefs.health.worsen(2)
    _, token = host.probe(1.0)
    host.swim.acked(token)
    assert host.beliefs.health.score == 1


def test_a_helper_pings_and_passes_the_answer_on() -> None:
    host = Host()
    asker, target = a_member(2), a_member(3)
    request = PingRequest(77, target.name, target.address, PORT)
    effects = host.swim.ping_requested(asker.address, PORT, request, 1.0)
    ping = effects[0]
    assert isinstance(ping, Say)
    assert isinstance(ping.message, Ping)
    token = ping.message.token
    assert effects == [
        Say(target.address, PORT, Ping(token, target.name)),
        SetTimer(RelayTimedOut(token), pytest.approx(1.4)),  # type: ignore[arg-type]  # approx for a float
    ]
    assert host.swim.acked(token) == [Say(asker.address, PORT, Ack(77))]
    assert host.swim.relay_timed_out(token) == []


def test_a_helper_without_answer_says_nack() -> None:
    host = Host()
    request = PingRequest(77, a_member(3).name, a_member(3).address, PORT)
    host.swim.ping_requested(a_member(2).address, PORT, request, 1.0)
    timer = next(
        e.timer
        for e in host.swim.ping_requested(a_member(2).address, PORT, request, 1.0)
        if isinstance(e, SetTimer)
    )
    assert isinstance(timer, RelayTimedOut)
    assert host.swim.relay_timed_out(timer.token) == [Say(a_member(2).address, PORT, Nack(77))]


def test_pings_meant_for_another_host_go_unanswered() -> None:
    host = Host()
    assert host.swim.pinged("127.0.0.9", PORT, Ping(5, a_member(2).name), a_member(3).name) == []


def test_who_talks_to_a_suspect_tells_it_so() -> None:
    host = Host()
    suspect = believed(a_member(2), Status.SUSPECT)
    host.beliefs.rumour_heard(MemberRumour(suspect, a_member(3).name), 1.0)
    answer = host.swim.pinged(suspect.address, PORT, Ping(5, ME.name), suspect.name)
    assert answer == [Say(suspect.address, PORT, Ack(5), (MemberRumour(suspect),))]


def test_i_refute_a_suspicion_with_a_higher_incarnation() -> None:
    host = Host()
    effects = host.beliefs.rumour_heard(
        MemberRumour(believed(ME, Status.SUSPECT, 4), a_member(2).name), 1.0
    )
    assert effects == [Spread(MemberRumour(believed(ME, Status.ALIVE, 5)))]
    assert host.beliefs.me.incarnation == 5
    stale = MemberRumour(believed(ME, Status.UNREACHABLE, 4), a_member(2).name)
    assert host.beliefs.rumour_heard(stale, 1.0) == []


def test_i_outdo_what_is_told_of_an_earlier_life_of_mine() -> None:
    host = Host()
    host.beliefs.rumour_heard(MemberRumour(believed(ME, Status.ALIVE, 9)), 1.0)
    assert host.beliefs.me.incarnation == 10


def test_a_refutation_clears_the_suspect_and_an_older_accusation_does_nothing() -> None:
    host = Host()
    two = a_member(2)
    host.beliefs.rumour_heard(MemberRumour(believed(two, Status.SUSPECT), a_member(3).name), 1.0)
    alive = believed(two, Status.ALIVE, 1)
    assert host.beliefs.rumour_heard(MemberRumour(alive), 2.0) == [
        Spread(MemberRumour(alive)),
        MemberChanged(alive),
    ]
    old = MemberRumour(believed(two, Status.UNREACHABLE, 0), a_member(3).name)
    assert host.beliefs.rumour_heard(old, 3.0) == []
    assert host.beliefs.suspicion_expired(two.name, 0, 99.0) == []
    assert host.status(two.name) is Status.ALIVE


def test_a_suspicion_nobody_confirms_takes_long_and_each_confirmation_shortens_it() -> None:
    host = Host(size=10)
    accused = believed(a_member(2), Status.SUSPECT)

    def accuse(by: int, now: float) -> list[float]:
        effects = host.beliefs.rumour_heard(MemberRumour(accused, a_member(by).name), now)
        timer = SuspicionExpired(accused.name, 0)
        return [e.at for e in effects if isinstance(e, SetTimer) and e.timer == timer]

    assert accuse(3, 0.0) == [24.0]
    assert accuse(3, 1.0) == [], "the same accuser twice is no confirmation"
    middle = accuse(4, 2.0)
    assert 4.0 < middle[0] < 24.0
    assert accuse(5, 3.0) == [4.0]
    assert accuse(6, 3.5) == [], "enough have confirmed"
    assert host.beliefs.suspicion_expired(accused.name, 0, 3.9) == []
    gone = believed(accused, Status.UNREACHABLE)
    assert host.beliefs.suspicion_expired(accused.name, 0, 4.0) == [
        Spread(MemberRumour(gone, ME.name)),
        MemberChanged(gone),
    ]
    assert host.beliefs.suspicion_expired(accused.name, 0, 24.0) == []


def test_hearsay_confirms_nothing() -> None:
    host = Host(size=10)
    accused = believed(a_member(2), Status.SUSPECT)
    host.beliefs.rumour_heard(MemberRumour(accused, a_member(3).name), 0.0)
    assert host.beliefs.rumour_heard(MemberRumour(accused), 1.0) == []


def test_an_unreachable_member_is_tried_again_but_not_in_the_round_of_probes() -> None:
    host = Host(size=3)
    gone = believed(a_member(2), Status.UNREACHABLE)
    host.beliefs.rumour_heard(MemberRumour(gone), 0.0)
    assert {host.probe(float(n))[0].name for n in range(2)} == {a_member(3).name}
    tries = [e for e in host.swim.unreachable_probe_due(5.0) if isinstance(e, Say)]
    assert [(e.address, e.rumours) for e in tries] == [(gone.address, (MemberRumour(gone),))]


def test_seeds_add_and_correct_addresses_but_remove_and_revive_nobody() -> None:
    host = Host(size=3)
    gone = believed(a_member(2), Status.UNREACHABLE, 4)
    host.beliefs.rumour_heard(MemberRumour(gone), 0.0)
    moved = msgspec.structs.replace(a_member(2), address="127.0.0.99")
    effects = host.beliefs.seeds_learned((moved, a_member(9), ME))
    expected = msgspec.structs.replace(gone, address="127.0.0.99")
    unheard = msgspec.structs.replace(a_member(9), incarnation=UNHEARD)
    assert effects == [MemberChanged(expected), MemberChanged(unheard)]
    assert host.status(a_member(3).name) is Status.ALIVE


def test_a_seed_that_never_answers_is_tried_again_and_never_spoken_of() -> None:
    host = Host(size=1)
    host.beliefs.seeds_learned((a_member(2),))
    seed, _token = host.probe(0.0)
    silent = believed(a_member(2), Status.UNREACHABLE, UNHEARD)
    effects = [e for e in host.swim.probe_due(1.0) if not isinstance(e, SetTimer)]
    assert (seed.incarnation, effects) == (UNHEARD, [MemberChanged(silent)])
    tries = [e for e in host.swim.unreachable_probe_due(5.0) if isinstance(e, Say)]
    assert [(e.address, e.rumours) for e in tries] == [(silent.address, ())]


@pytest.mark.parametrize("status", [Status.ALIVE, Status.UNREACHABLE])
def test_the_first_word_of_a_seed_is_news_however_silent_it_was(status: Status) -> None:
    host = Host(size=1)
    host.beliefs.seeds_learned((a_member(2),))
    host.beliefs.members.put(believed(a_member(2), status, UNHEARD))
    effects = host.beliefs.sender_heard(a_member(2).name, 3.0)
    assert effects == [Spread(MemberRumour(a_member(2))), MemberChanged(a_member(2))]
    assert host.beliefs.sender_heard(a_member(2).name, 4.0) == []


def test_who_left_is_not_suspected_and_does_not_defend_itself() -> None:
    host = Host()
    left = believed(ME, Status.LEFT)
    assert host.beliefs.leave() == [Spread(MemberRumour(left))]
    accused = MemberRumour(believed(ME, Status.SUSPECT), a_member(2).name)
    assert host.beliefs.rumour_heard(accused, 1.0) == []


def test_tiny_cells_do_not_wait_for_confirmations_that_cannot_come() -> None:
    assert Suspicion(HostName("h2"), 0.0, 3, CONFIG).deadline == 4.0
    large = Suspicion(HostName("h2"), 0.0, 1_000, CONFIG)
    assert large.deadline == 72.0
    assert large.confirm(HostName("h3"))
    assert large.confirm(HostName("h4"))
    assert large.deadline == 12.0


def test_local_health_stays_in_bounds() -> None:
    health = LocalHealth(7)
    health.recover()
    assert health.factor == 1
    health.worsen(3)
    health.worsen(99)
    assert health.factor == 8


def test_an_outdated_probe_timer_is_recognised() -> None:
    host = Host()
    _, token = host.probe(1.0)
    assert host.swim.probe_timed_out(token + 99) == []
    assert host.swim.probe_timed_out(token) != []
