"""What lies on one simulated host's disk: records and builds.  It outlives every process."""

from __future__ import annotations

from p2pdeploy.activation.record import HostRecord, ServiceRecord
from p2pdeploy.ids import Digest, ServiceName
from p2pdeploy.messages.orders import Build

__all__ = ["Disk"]


class Disk:
    """``records`` is one whole record per service; a write happens or does not."""

    def __init__(self) -> None:
        self.records: dict[ServiceName, ServiceRecord] = {}
        self.host_record = HostRecord()
        self._builds: dict[ServiceName, frozenset[Digest]] = {}

    def put(self, service: ServiceName, build: Build) -> None:
        """*build* is there from now on, until it is collected."""
        self._builds[service] = self.builds(service) | {build.digest}

    def builds(self, service: ServiceName) -> frozenset[Digest]:
        return self._builds.get(service, frozenset())

    def keep(self, service: ServiceName, digests: frozenset[Digest]) -> bool:
        """Collect all else at once, the worst case; True if anything was collected."""
        left = self.builds(service) & digests
        collected = left < self.builds(service)
        self._builds[service] = left
        return collected

    def is_settled_on(self, service: ServiceName, build: Build) -> bool:
        """Whether the record says that *build* runs and nothing is being changed."""
        record = self.records.get(service)
        return record is not None and record.started is None and record.running == build
