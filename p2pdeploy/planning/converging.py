"""Who converges to what has settled: the hosts that lag behind, ``max_unavailable`` at a time.

A host takes room from being named until it has arrived, or until nothing it began under the last
GO that named it can be under way, just as on a way back.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from p2pdeploy.ids import HostName
from p2pdeploy.limits import LEASE_S
from p2pdeploy.messages.attestation import Attestation, Rank
from p2pdeploy.messages.orders import Grant, Settled
from p2pdeploy.planning.cell_rollout import CellRollout, View, is_quiet
from p2pdeploy.planning.reverting import budget_holders

__all__ = ["Converging", "converge_grant", "inherit", "name_next"]

Words = Mapping[HostName, Attestation]


class Converging(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes room in the budget: when each was named, and since when no GO names it."""

    named_at: dict[HostName, float] = {}
    left_out_at: dict[HostName, float] = {}


def inherit(converging: Converging, rollout: CellRollout, view: View) -> Converging:
    """Go on counting whoever may be changing when a rollout ends; *rollout* as it was before."""
    since = {host: view.now for host in rollout.excused if not is_quiet(rollout, view, host)}
    since |= {
        host: min(view.now, until - rollout.quiet_s)  # from now on it is not named to go back
        for host, until in budget_holders(rollout, view).items()
    }
    return Converging(
        named_at=converging.named_at | dict.fromkeys(since, view.now),
        left_out_at=converging.left_out_at | since,
    )


def name_next(converging: Converging, settled: Settled, view: View) -> Converging:
    """Let go of whoever arrived or is quiet, and name the next as far as there is room."""
    named_at = {
        host: at
        for host, at in converging.named_at.items()
        if not _has_arrived(view.evidence, host, settled)
        and view.now < converging.left_out_at.get(host, at + _quiet_s(settled)) + _quiet_s(settled)
    }
    ready = [host for host in _lagging(settled, view) if host not in named_at]
    ready.sort(key=lambda host: view.evidence[host].rank is not Rank.STARTED)
    ready.sort(key=lambda host: host in converging.named_at)  # who has just had its turn comes last
    room = max(0, settled.max_unavailable - len(named_at))
    named_at |= dict.fromkeys(ready[:room], view.now)
    left_out_at = {h: at for h, at in converging.left_out_at.items() if h in named_at}
    return Converging(named_at=named_at, left_out_at=left_out_at)


def converge_grant(converging: Converging, settled: Settled, view: View) -> Grant | None:
    """Name those whose turn it is and who can be reached; None when there are none."""
    turns = converging.named_at
    hosts = tuple(
        host
        for host in _lagging(settled, view)
        if host in turns and view.now - turns[host] < _quiet_s(settled)
    )
    if not hosts:
        return None
    return Grant(service=settled.service, plan_seq=settled.plan_seq, phase="converge", hosts=hosts)


def _quiet_s(settled: Settled) -> float:
    """How long after the last GO that names a host something it began may be under way."""
    return LEASE_S + settled.clock_error_s + settled.activation_max_s


def _lagging(settled: Settled, view: View) -> list[HostName]:
    """Hosts that can be reached and run something else than what settled, by name."""
    return [
        host
        for host, word in sorted(view.evidence.items())
        if host in view.alive
        and (not settled.hosts or host in settled.hosts)
        and word.digest
        and not _arrived(word, settled)
    ]


def _has_arrived(words: Words, host: HostName, settled: Settled) -> bool:
    """Whether *host* says so since it knows what settled; an older word says nothing of now."""
    word = words.get(host)
    return word is not None and word.plan_seq >= settled.plan_seq and _arrived(word, settled)


def _arrived(word: Attestation, settled: Settled) -> bool:
    """Whether *word* says that the host is there, or has tried this and failed."""
    if word.plan_seq == settled.plan_seq and word.rank >= Rank.HEALTHY:
        return True
    build = settled.for_host(word.host).build
    there = build is not None and (word.version, word.digest) == (build.version, build.digest)
    return there and word.rank is not Rank.STARTED
