"""The replica of a cell's state: a map of max-registers with one writer per key.

Merging is commutative, associative and idempotent as long as a writer never says two things under
one version; if it does (equivocation), the first one stays and the second is counted.  Items are
verified before they come here (:func:`p2pdeploy.gossip.anti_entropy.admit`).

========================  =============================================================
key                       version
========================  =============================================================
``rollout/SERVICE``       rollout_seq, 0
``plan/SERVICE``          plan_seq, 0 (also ``revert/``, ``roster/``)
``go``                    lease_seq, 0
``revocations``           seq, 0
``rate-limits``           limits_seq, 0
``abort/SERVICE``         watermark, 0
``excuse/SERVICE``        plan_seq, excuse_seq
``retry/SERVICE``         plan_seq, attempt
``prefetch/SERVICE``      prefetch_seq, 0
``settled/SERVICE``       plan_seq, issued_at in ms
``att/SERVICE/HOST``      epoch, seq
========================  =============================================================
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator

from blake3 import blake3

from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import CellId, HostName, ServiceName, check_service
from p2pdeploy.limits import CELL_HOSTS_MAX, ENVELOPE_BYTES_MAX, SERVICES_PER_HOST_MAX
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.gossip import BUCKETS, Item, ItemVersion
from p2pdeploy.messages.orders import (
    Abort,
    Excuse,
    Go,
    Plan,
    Prefetch,
    Retry,
    Revert,
    Rollout,
    Roster,
    Settled,
)
from p2pdeploy.messages.rates import RateLimits
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import Sealed
from p2pdeploy.trust.revocations import Revocations

__all__ = [
    "RATE_LIMITS_KEY",
    "REVOCATIONS_KEY",
    "URGENCIES",
    "CellState",
    "Item",
    "attestation_key",
    "is_order",
    "item_of",
    "urgency_of",
]

# Every host attests every service that it hears of, so a cell has no more names than a host.
ORDER_KEYS_MAX = 9 * SERVICES_PER_HOST_MAX + 3
ATTESTATION_KEYS_MAX = CELL_HOSTS_MAX * SERVICES_PER_HOST_MAX
# Four times the largest real one: bounds the table at ATTESTATION_KEYS_MAX * 4 KiB.
ATTESTATION_BYTES_MAX = 4 * 1024

REVOCATIONS_KEY = "revocations"
RATE_LIMITS_KEY = "rate-limits"
_NUMBER_MAX = 2**64 - 1  # what msgpack and the summary can hold
_URGENCY = {"abort": 0, "revocations": 0, "go": 1, "att": 3}
URGENCIES = 4


def urgency_of(key: str) -> int:
    """How early an item is told: 0 ABORT and revocations, 1 GO, 2 other orders, 3 attestations."""
    return _URGENCY.get(key.partition("/")[0], 2)


def is_order(key: str) -> bool:
    """Whether an item tells hosts what to do; the others are what hosts say of themselves."""
    return urgency_of(key) < _URGENCY["att"]


def attestation_key(service: ServiceName, host: HostName) -> str:
    """The key under which *host* attests *service*."""
    return f"att/{service}/{host}"


def item_of(message: Sealed, envelope: bytes) -> Item:
    """Place a verified *message* in the state; *envelope* is kept as it came.

    Raises:
        ProtocolError: its numbers cannot be a version, or it is a Credential, which is no item of
            a cell.  Drop it.
        RefusedError: its service name breaks the rule.  Drop it.
    """
    key, numbers = _key_and_numbers(message)
    if not all(math.isfinite(number) and 0 <= number <= _NUMBER_MAX for number in numbers):
        raise ProtocolError(f"{key!r} with version {numbers}")
    return Item(key, (int(numbers[0]), int(numbers[1])), envelope)


def _key_and_numbers(message: Sealed) -> tuple[str, tuple[float, float]]:
    if isinstance(message, Go):
        return "go", (message.lease_seq, 0)
    if isinstance(message, Revocations):
        return REVOCATIONS_KEY, (message.seq, 0)
    if isinstance(message, RateLimits):
        return RATE_LIMITS_KEY, (message.limits_seq, 0)
    if isinstance(message, Credential):
        raise ProtocolError("a Credential is no item of a cell")
    service = check_service(message.service)
    match message:
        case Attestation():
            return attestation_key(service, message.host), (message.epoch, message.seq)
        case Rollout():
            return f"rollout/{service}", (message.rollout_seq, 0)
        case Plan():
            return f"plan/{service}", (message.plan_seq, 0)
        case Revert():
            return f"revert/{service}", (message.plan_seq, 0)
        case Roster():
            return f"roster/{service}", (message.plan_seq, 0)
        case Abort():
            return f"abort/{service}", (message.watermark, 0)
        case Excuse():
            return f"excuse/{service}", (message.plan_seq, message.excuse_seq)
        case Retry():
            return f"retry/{service}", (message.plan_seq, message.attempt)
        case Prefetch():
            return f"prefetch/{service}", (message.prefetch_seq, 0)
        case Settled():
            return f"settled/{service}", (message.plan_seq, message.issued_at * 1000)


class CellState:
    """All items of one cell, in ``BUCKETS`` buckets with a running hash each.

    Bounded: orders and attestations have their own number of keys and one host at most
    ``SERVICES_PER_HOST_MAX`` attestations, so neither a chatty host nor hosts outside the
    membership can crowd out anything else.  What does not fit is refused and counted.
    """

    def __init__(self, cell: CellId) -> None:
        self.cell = cell
        self.equivocations = 0
        self.refusals = 0
        self._buckets: list[dict[str, Item]] = [{} for _ in range(BUCKETS)]
        self._summary = [0] * BUCKETS
        self._order_keys = 0
        self._attestation_keys: dict[str, int] = {}  # per host
        self._attestations = 0

    def __repr__(self) -> str:
        return f"<CellState {self.cell}: {self._order_keys} orders, {self._attestations} atts>"

    def __len__(self) -> int:
        return self._order_keys + self._attestations

    def get(self, key: str) -> Item | None:
        """The newest item under *key*."""
        return self._buckets[_bucket_of(key)].get(key)

    def lacks(self, key: str, version: ItemVersion) -> bool:
        """Whether an item of this version would be new here."""
        held = self.get(key)
        return held is None or held.version < version

    def items(self) -> Iterator[Item]:
        """Every item, in no particular order that anybody may rely on."""
        for bucket in self._buckets:
            yield from bucket.values()

    def summary(self) -> tuple[int, ...]:
        """One 64-bit hash per bucket over its keys and versions; costs nothing."""
        return tuple(self._summary)

    def merge(self, item: Item) -> bool:
        """Keep the newer of *item* and what is held; True if *item* was newer and fits."""
        index = _bucket_of(item.key)
        held = self._buckets[index].get(item.key)
        if held is not None and held.version >= item.version:
            self.equivocations += held.version == item.version and held.envelope != item.envelope
            return False
        if not self._has_room(item, is_new_key=held is None):
            self.refusals += 1
            return False
        if held is not None:
            self._summary[index] ^= _mark_of(held)
        self._buckets[index][item.key] = item
        self._summary[index] ^= _mark_of(item)
        return True

    def drop(self, key: str) -> None:
        """Forget the item under *key*, which is held: the key that sealed it was rotated.

        Not for anything else: whoever still holds it would bring it back.
        """
        index = _bucket_of(key)
        self._summary[index] ^= _mark_of(self._buckets[index].pop(key))
        if not key.startswith("att/"):
            self._order_keys -= 1
            return
        host = key.rpartition("/")[2]
        self._attestations -= 1
        self._attestation_keys[host] -= 1

    def _has_room(self, item: Item, *, is_new_key: bool) -> bool:
        """Check the bounds, and count the key if it is new and fits."""
        if not item.key.startswith("att/"):
            fits = len(item.envelope) <= ENVELOPE_BYTES_MAX
            fits = fits and (not is_new_key or self._order_keys < ORDER_KEYS_MAX)
            self._order_keys += fits and is_new_key
            return fits
        host = item.key.rpartition("/")[2]
        of_host = self._attestation_keys.get(host, 0)
        fits = len(item.envelope) <= ATTESTATION_BYTES_MAX and (
            not is_new_key
            or (of_host < SERVICES_PER_HOST_MAX and self._attestations < ATTESTATION_KEYS_MAX)
        )
        if fits and is_new_key:
            self._attestation_keys[host] = of_host + 1
            self._attestations += 1
        return fits

    def versions(self, buckets: Iterable[int]) -> tuple[tuple[str, ItemVersion], ...]:
        """Key and version of everything in *buckets*, in key order within each bucket."""
        return tuple(
            (key, self._buckets[index][key].version)
            for index in sorted(set(buckets))
            for key in sorted(self._buckets[index])
        )

    def newer_than(
        self, versions: Iterable[tuple[str, ItemVersion]], buckets: Iterable[int]
    ) -> tuple[list[Item], list[str]]:
        """Compare with a replica that holds *versions* in *buckets*.

        Returns:
            The items it lacks and the keys that this one lacks, the most urgent first.
        """
        theirs = dict(versions)
        they_lack = [
            item
            for index in sorted(set(buckets))
            for item in self._buckets[index].values()
            if item.key not in theirs or theirs[item.key] < item.version
        ]
        i_lack = [key for key, version in theirs.items() if self.lacks(key, version)]
        they_lack.sort(key=lambda item: (urgency_of(item.key), item.key))
        i_lack.sort(key=lambda key: (urgency_of(key), key))
        return they_lack, i_lack


def _bucket_of(key: str) -> int:
    return zlib.crc32(key.encode()) % BUCKETS


def _mark_of(item: Item) -> int:
    """64 bits of key and version; xor of the marks is the same in whatever order they came."""
    version = b"%d %d " % item.version
    return int.from_bytes(blake3(version + item.key.encode()).digest(8), "big")
