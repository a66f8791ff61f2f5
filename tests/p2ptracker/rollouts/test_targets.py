"""What the targets of a rollout go back to when it fails."""

from __future__ import annotations

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Build
from p2pdeploy.testing.orders import NEW, OLD, a_settled, a_word, hosts_of
from p2ptracker.rollouts.targets import Baseline, baseline_of

HOSTS = hosts_of(4, 2)
H = tuple(host.name for host in HOSTS)


def run(**builds: Build | None) -> dict[HostName, Attestation]:
    return {
        HostName(name): a_word(name, 2, Rank.HEALTHY, runs=build) for name, build in builds.items()
    }


def test_what_settled_for_the_whole_cell_is_the_baseline_of_all() -> None:
    assert baseline_of(a_settled(OLD, 2), run(h1=NEW), HOSTS) == Baseline(OLD)


def test_where_nothing_settled_and_nothing_runs_all_go_back_to_nothing() -> None:
    assert baseline_of(None, {}, HOSTS) == Baseline(None)


def test_a_host_that_runs_nothing_goes_back_to_nothing() -> None:
    found = baseline_of(None, run(h1=OLD, h2=OLD, h3=None), HOSTS)
    assert found == Baseline(OLD, bare=(H[2], H[3]))


def test_what_settled_on_some_hosts_reaches_no_others_when_they_go_back() -> None:
    settled = a_settled(OLD, 2, hosts=("h1",))
    found = baseline_of(settled, run(h1=OLD), HOSTS)
    assert found == Baseline(OLD, bare=H[1:], settled_hosts=(H[0],))


def test_a_host_that_is_down_is_not_bare_when_a_build_settled_for_it() -> None:
    settled = a_settled(OLD, 2, hosts=("h1", "h2"))
    assert baseline_of(settled, run(h1=OLD), HOSTS).bare == H[2:]


def test_a_host_that_settled_bare_stays_so() -> None:
    settled = msgspec.structs.replace(a_settled(OLD, 3), bare=(H[3],))
    assert baseline_of(settled, run(h1=OLD), HOSTS).bare == (H[3],)


def test_hosts_that_settled_on_another_build_are_not_drawn_in() -> None:
    settled = a_settled(NEW, 2, hosts=("h9",))
    assert baseline_of(settled, run(h1=OLD), HOSTS).settled_hosts == ()
