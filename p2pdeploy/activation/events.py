"""What can happen to the activation core."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.record import Started
from p2pdeploy.ids import Digest, HostName, ServiceName
from p2pdeploy.messages.attestation import ServiceState
from p2pdeploy.trust.envelope import Sealed

__all__ = [
    "INTERRUPTED",
    "Activated",
    "ActivationFailed",
    "Booted",
    "CredentialReplaced",
    "Event",
    "MembersChanged",
    "MessageMerged",
    "Now",
    "OrdersRefused",
    "Persisted",
    "Progressed",
    "ServiceBroke",
    "ServiceRan",
    "Staged",
    "StagingFailed",
    "Woken",
]


INTERRUPTED = "interrupted"
"""Code of an ActivationFailed that undid a change because the daemon died in the middle of it."""


class Now(msgspec.Struct, frozen=True):
    """The host's clocks at one instant, in seconds.

    ``boot_s`` is CLOCK_BOOTTIME (goes on during suspend, never jumps); ``wall_s`` is UTC since
    the epoch; ``synchronised`` says that the wall clock's error is known to be in bounds.
    """

    boot_s: float
    wall_s: float
    synchronised: bool = True


class Booted(msgspec.Struct, frozen=True):
    """The daemon started; the core was built from its records."""


class MessageMerged(msgspec.Struct, frozen=True):
    """A verified order or attestation is new in the cell's state."""

    message: Sealed


class OrdersRefused(msgspec.Struct, frozen=True):
    """Under these gossip keys (``p2pdeploy.gossip.state``) stood what no longer verifies.

    A key was rotated.  Attestations may be among it.  What is sealed anew comes as any other
    message does.
    """

    keys: tuple[str, ...]


class MembersChanged(msgspec.Struct, frozen=True):
    """Membership, as hints: who seems alive (myself included)."""

    alive: frozenset[HostName]


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A build lies on disk, whole and verified."""

    service: ServiceName
    digest: Digest
    fetched_bytes: int = 0
    reused_bytes: int = 0


class StagingFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A build could not be staged; the shell goes on trying, this tells why."""

    service: ServiceName
    digest: Digest
    code: str
    reason: str


class Persisted(msgspec.Struct, frozen=True):
    """The newest record of *service* is on disk (the answer to a Persist that asked for it)."""

    service: ServiceName


class Progressed(msgspec.Struct, frozen=True, kw_only=True):
    """A change moved on: starting -> baking, or rolling-back."""

    service: ServiceName
    state: ServiceState
    port: int = 0


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """The change named by *started* is done: healthy through its bake, or removed."""

    service: ServiceName
    started: Started
    port: int = 0


class ActivationFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The change failed.  ``restored``: what ran before runs again (or nothing ran before)."""

    service: ServiceName
    started: Started
    code: str
    reason: str
    restored: bool
    port: int = 0


class ServiceRan(msgspec.Struct, frozen=True, kw_only=True):
    """Outside any change: the build of the record runs and is healthy (adopted or started)."""

    service: ServiceName
    port: int = 0


class ServiceBroke(msgspec.Struct, frozen=True, kw_only=True):
    """Outside any change: the service crash-loops or stays unhealthy.

    ``port`` is where it listens all the same; 0 leaves what was known.
    """

    service: ServiceName
    code: str
    reason: str
    port: int = 0


class Woken(msgspec.Struct, frozen=True):
    """The time of a Wake has come, or the clock's state changed."""


class CredentialReplaced(msgspec.Struct, frozen=True):
    """What this host says carries another credential from now on: say all of it again."""


Event = (
    Booted
    | CredentialReplaced
    | MessageMerged
    | OrdersRefused
    | MembersChanged
    | Staged
    | StagingFailed
    | Persisted
    | Progressed
    | Activated
    | ActivationFailed
    | ServiceRan
    | ServiceBroke
    | Woken
)
