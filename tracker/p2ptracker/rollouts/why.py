"""Why a rollout, or one host of it, stands where it stands: reasons out of what is known.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from p2pdeploy.errors import NotFoundError, P2PDeployError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason, RolloutView
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.planning.cell_rollout import hold_reason
from p2pdeploy.planning.conducted import latest
from p2ptracker.cells.settled_elsewhere import settled_elsewhere
from p2ptracker.rollouts.view import CellSight

if TYPE_CHECKING:
    from p2pdeploy.messages.host import Why

__all__ = ["reasons_of_cell", "reasons_of_host", "reasons_of_rollout"]


def reasons_of_rollout(view: RolloutView) -> list[Reason]:
    """The rollout's own reasons, who failed, and what each of its fault domains waits for."""
    waits = [
        Reason(code="waits", message=domain.waits_for, fault_domain=domain.name)
        for domain in view.fault_domains
        if domain.waits_for
    ]
    told = {reason.host for reason in view.reasons if reason in view.failures}
    failures = [_failure(view, reason) for reason in view.failures if reason.host not in told]
    return [*view.reasons, *failures, *waits, *_behind(view)]


def reasons_of_host(
    view: RolloutView, host: HostName, said: Attestation | None, answer: Why | P2PDeployError
) -> list[Reason]:
    """What holds *host*, by its own word if it answers, else by what the control plane knows.

    Args:
        view: The rollout.
        host: One of its targets.
        said: The newest attestation of *host* for the service, if it ever made one.
        answer: What its daemon says now, or why it says nothing.
    """
    failures = [_failure(view, reason) for reason in view.failures if reason.host == host]
    failures += [reason for reason in _behind(view) if reason.host == host]
    known = [*failures, *_known(view, host, said), *_ahead_on_the_way_back(view, host, said)]
    if isinstance(answer, NotFoundError):
        return [Reason(code=answer.code, message=answer.message, host=host)]
    if isinstance(answer, P2PDeployError):
        silent = Reason(
            code="host-silent",
            message=f"the host's daemon does not answer ({answer.message}); what follows is older",
            host=host,
        )
        return [silent, *known]
    if not answer.code:
        return known
    domain = said.fault_domain if said else ""
    own = Reason(code=answer.code, message=answer.message, host=host, fault_domain=domain)
    return [own, *failures, *_ahead_on_the_way_back(view, host, said)]


def reasons_of_cell(view: RolloutView, host: HostName, cell: CellSight) -> list[Reason]:
    """What *host* can't know: for whom no GO covers it yet, or that what settled leaves it out.

    Args:
        view: The rollout.
        host: One of the cell.
        cell: As it is seen now.
    """
    entry = latest(cell.conducted, view.service)
    if entry is not None and entry.rollout.phase != "done":
        of_it = any(member.host == host for member in entry.rollout.cell_plan.roster.members)
        held = hold_reason(entry.rollout, cell.now)
        if of_it:
            return [held] if held and entry.rollout_id == view.id else []
    word = cell.evidence.get(view.service, {}).get(host)
    elsewhere = settled_elsewhere(cell.conducted.settled.get(view.service), host, word)
    return [elsewhere] if elsewhere else []


def _failure(view: RolloutView, reason: Reason) -> Reason:
    """That a host failed under the rollout, also when it has gone back since."""
    text = f"failed on {view.version}: {reason.message}"
    return msgspec.structs.replace(reason, message=text)


def _behind(view: RolloutView) -> list[Reason]:
    """Who is behind the others with the release, and why; the worst of them."""
    if view.swarm is None:
        return []
    return [
        Reason(
            code=f"behind-{straggler.cause}",
            message=f"behind the others, has {straggler.coverage:.0%}: {straggler.message}",
            host=straggler.host,
        )
        for straggler in view.swarm.stragglers
    ]


def _known(view: RolloutView, host: HostName, said: Attestation | None) -> list[Reason]:
    if said is None:
        text = f"it has said nothing about {view.service} yet"
        return [Reason(code="no-word", message=text, host=host)]
    if any(reason.host == host and reason.message == said.reason for reason in view.failures):
        return []  # its failure is its newest word
    text = said.reason or f"{said.state}{f' on {said.version}' if said.version else ''}"
    domain = next((d for d in view.fault_domains if d.name == said.fault_domain), None)
    text += f"; {domain.waits_for}" if domain and domain.waits_for else ""
    code = said.reason_code or said.rank.name.lower()
    return [Reason(code=code, message=text, host=host, fault_domain=said.fault_domain)]


def _ahead_on_the_way_back(
    view: RolloutView, host: HostName, said: Attestation | None
) -> list[Reason]:
    """The hosts that *host* waits for while the rollout goes back: they take up the budget."""
    if view.state != "rolling-back":
        return []
    over = {domain.name for domain in view.fault_domains if domain.finished_at}
    if said is not None and said.fault_domain in over:
        return []
    return [r for r in view.reasons if r.code == "budget-held" and r.host != host]
