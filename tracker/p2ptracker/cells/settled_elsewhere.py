"""A host that what settled last says nothing about, and that runs something else.  Pure."""

from __future__ import annotations

from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import Reason
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Settled

__all__ = ["settled_elsewhere"]


def settled_elsewhere(settled: object, host: HostName, word: Attestation | None) -> Reason | None:
    """Why *host* stays as it is although its cell settled on something else; None if it does not.

    A settlement of hosts that were named replaces the one before, also for those it does not
    name: a host that was away then gets neither, until somebody rolls something out to it.

    Args:
        settled: What the cell holds under ``settled/SERVICE``.
        host: One of the cell.
        word: Its newest attestation for the service, if it ever made one.
    """
    if not isinstance(settled, Settled) or not settled.hosts or host in settled.hosts:
        return None
    build = settled.build
    if build is None or (word is not None and word.plan_seq > settled.plan_seq):
        return None  # nothing to lag behind, or a newer order governs it
    if word is not None and (word.version, word.digest) == (build.version, build.digest):
        return None
    return Reason(
        code="not-settled-here",
        message=f"the newest settlement, {build.version} of {settled.rollout_id}, is not about "
        "this host; roll the version out to it",
        host=host,
    )
