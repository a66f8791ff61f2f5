"""What the activation core asks its shell to do, in this order, one after the other."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.record import HostRecord, ServiceRecord, Started
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.orders import Build

__all__ = [
    "Attest",
    "Change",
    "Effect",
    "Keep",
    "Persist",
    "PersistHost",
    "Run",
    "Stage",
    "StopStaging",
    "Wake",
]


class Persist(msgspec.Struct, frozen=True):
    """Write the record and fsync before the next effect.

    With ``confirm`` the core waits for the event Persisted, to look at GO and ABORT once more.
    """

    record: ServiceRecord
    confirm: bool = False


class PersistHost(msgspec.Struct, frozen=True):
    """Write the host's record and fsync before the next effect."""

    record: HostRecord


class Attest(msgspec.Struct, frozen=True):
    """Seal, merge into the cell's state and gossip."""

    attestation: Attestation


class Stage(msgspec.Struct, frozen=True):
    """Bring *build* onto this disk and verify it; answer Staged.  Idempotent; go on trying."""

    service: ServiceName
    build: Build


class StopStaging(msgspec.Struct, frozen=True):
    """Fetch nothing more for *service*: no order asks for it now.  What was fetched may stay."""

    service: ServiceName


class Change(msgspec.Struct, frozen=True):
    """Carry out *started*: stop the old, switch, start the new, health through the bake.

    Answer Activated or ActivationFailed within ``started.activation_max_s``.  On failure put
    ``started.previous`` back first.  With ``resume`` it was under way when the daemon died: adopt
    the new build if it runs and finish, else put the previous one back and answer with code
    ``INTERRUPTED``; the new build is never started on resume, because no lease covers that.
    """

    service: ServiceName
    started: Started
    resume: bool = False


class Run(msgspec.Struct, frozen=True):
    """Outside any change: adopt or start *build* and supervise it; answer ServiceRan or Broke.

    None: nothing of the service may run.  Without ``start`` an ABORT covers the build: it stays
    while it runs and is not started again; when it does not run, answer ServiceBroke at once.
    """

    service: ServiceName
    build: Build | None
    start: bool = True


class Keep(msgspec.Struct, frozen=True):
    """These builds must stay on disk; others of the service may be collected.

    ``rollback`` is the one among them that the service goes back to; None: there is none.
    """

    service: ServiceName
    digests: frozenset[Digest]
    rollback: Digest | None = None


class Wake(msgspec.Struct, frozen=True):
    """Send Woken at this CLOCK_BOOTTIME at the latest; a newer Wake replaces an older one."""

    at_boot_s: float


Effect = Persist | PersistHost | Attest | Stage | StopStaging | Change | Run | Keep | Wake
