"""A payload as a release of ours, on its way to the hosts of a lab."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lab.fleet import LabFleet, moment
from lab.meter import Meter
from lab.plan import ORIGIN
from lab.rows import Row
from lab.waiting import wait_for
from p2pdeploy.ids import Digest
from p2pdeploy.payload.layout import piece_size_for
from p2ptracker.storage.blobs import LocalBlobStore

__all__ = ["Release", "Rollout"]

_SERVICE, _VERSION = "hello", "1.0.0"  # of examples/hello, to which the payload is added


@dataclass(frozen=True, kw_only=True)
class Release:
    """What was published."""

    digest: Digest
    size_bytes: int

    @classmethod
    def publish(cls, fleet: LabFleet, tree: Path) -> Release:
        """Publish *tree*."""
        published = fleet.p2pctl("publish", _SERVICE, _VERSION, tree)
        digest = Digest(str(published["manifest_digest"]))
        return cls(digest=digest, size_bytes=int(str(published["size_bytes"])))

    def manifest(self, folder: Path) -> bytes:
        """Its manifest, as the registry of the fleet in *folder* keeps it."""
        return LocalBlobStore(folder / "tracker" / "store").get_object("manifest", self.digest)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A release that every host is to have.

    ``began``: when the control plane accepted it, in seconds of the Unix epoch.
    """

    fleet: LabFleet
    release: Release
    meter: Meter
    began: float

    @classmethod
    def apply(cls, fleet: LabFleet, release: Release, meter: Meter) -> Rollout:
        """Roll *release* out everywhere; returns when that was accepted."""
        target = ("--env", "lab", "--mf", "web")
        applied = fleet.p2pctl("rollout", "apply", _SERVICE, _VERSION, *target)
        began = datetime.fromisoformat(str(applied["created_at"])).timestamp()
        return cls(fleet=fleet, release=release, meter=meter, began=began)

    def wait_received(self, copies: float, timeout_s: float, host: str | None = None) -> None:
        """Wait until so much of the payload has come to *host*, or to all on average."""

        def have_it() -> bool:
            received = self.meter.received()
            if host is not None:
                return received[host] >= copies
            return sum(received.values()) / len(received) >= copies

        wait_for(have_it, f"{copies:.0%} of the payload has come to {host or 'hosts'}", timeout_s)

    def wait_all_left(self, timeout_s: float) -> None:
        """Wait until the origin has sent the whole payload, and nothing more of it is under way.

        From then on every piece is with some host; most are planted, though the dealer hears of it
        later.
        """
        piece = piece_size_for(self.release.size_bytes) / self.release.size_bytes
        seen = [0.0]

        def all_left() -> bool:
            before, seen[0] = seen[0], self.meter.sent()[ORIGIN]
            return seen[0] >= 1.0 and seen[0] - before < piece

        wait_for(all_left, "the last piece has left the origin", timeout_s)

    def wait_staged(self, names: Sequence[str], timeout_s: float) -> dict[str, float]:
        """Seconds that each of these hosts needed until it had verified its whole tree."""
        staged = self.fleet.wait_logged("staged", names, timeout_s)
        return {name: moment(line) - self.began for name, line in staged.items()}

    def first_fetch_s(self) -> float:
        """When the first host began to fetch: what comes before is not the swarm's."""
        lines = [self.fleet.logged(host.name, "fetching") for host in self.fleet.hosts]
        return min(moment(line[0]) for line in lines if line) - self.began

    def struck_now(self) -> Row:
        """When something happens to it, and how far hosts are: fields of a line."""
        received = self.meter.received().values()
        return {
            "struck_at_s": round(time.time() - self.began, 2),
            "coverage": round(sum(received) / len(received), 3),
        }
