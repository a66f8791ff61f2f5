"""Reporter: what this host says of itself, to its cell and to its operators.

Facts about services come from the activation core alone, as attestations; the Reporter seals
them, spreads them, and keeps the newest of each to answer with.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from p2pdaemon.clock import HostClock
from p2pdaemon.config import DaemonConfig
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.sync_cell import CellSync
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.activation.lease import Hold
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.host import ServiceStatus, Status
from p2pdeploy.trust.envelope import Sealer, seal

__all__ = ["Attester", "Reporter"]

LAG_EVERY_S = 2.0
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


class Attester:
    """Seals this host's attestations, spreads them, and keeps the newest of each service."""

    def __init__(self, gossip: GossipShell, sealer: Sealer) -> None:
        self._gossip = gossip
        self._sealer = sealer
        self._newest: dict[ServiceName, Attestation] = {}

    def publish(self, attestation: Attestation) -> None:
        """Seal *attestation* and tell the cell."""
        self._newest[attestation.service] = attestation
        self._gossip.publish(seal(attestation, self._sealer))

    def newest(self) -> dict[ServiceName, Attestation]:
        """The newest word on each service that this host has had."""
        return dict(sorted(self._newest.items()))


class Reporter:
    """Answers for one host.

    Args:
        config: Who this host is.
        epoch: Of this life of the daemon.
        core: Asked what holds a service.
        attester: What was attested.
        gossip: Membership and counters.
        clock: The host's clocks.
        sync: The tasks towards the control plane.
        stager: What is fetched and seeded.
    """

    def __init__(
        self,
        config: DaemonConfig,
        epoch: int,
        core: HostActivation,
        attester: Attester,
        gossip: GossipShell,
        clock: HostClock,
        sync: CellSync,
        stager: BuildStager,
    ) -> None:
        self._config = config
        self._epoch = epoch
        self._core = core
        self._attester = attester
        self._gossip = gossip
        self._clock = clock
        self._sync = sync
        self._stager = stager
        self._started_s = trio.current_time()
        self._lag_s = 0.0
        self._lag_max_s = 0.0
        self.requests_dropped = 0  # of the host API: forged, malformed or too many
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def attestation(self, service: ServiceName) -> Attestation | None:
        """The newest word on *service*; None when this host has never had it."""
        return self._attester.newest().get(service)

    def why(self, service: ServiceName) -> Hold | None:
        """What holds the next step of *service*."""
        return self._core.why(service)

    def status(self) -> Status:
        """What runs here."""
        offset = self._clock.offset()
        return Status(
            host=self._config.name,
            cell=self._config.cell,
            version=_version(),
            pid=os.getpid(),
            epoch=self._epoch,
            uptime_s=trio.current_time() - self._started_s,
            synchronised=self._clock.now().synchronised,
            clock_offset_s=offset.offset_s if offset else None,
            is_delegate=self._sync.is_delegate(),
            alive=sorted(self._gossip.alive_members()),
            services=[self._service(word) for word in self._attester.newest().values()],
            staged=sorted(d for d, torrent in self._stager.torrents().items() if torrent.complete),
        )

    def _service(self, attestation: Attestation) -> ServiceStatus:
        hold = self._core.why(attestation.service)
        if hold is None:
            return ServiceStatus(attestation=attestation)
        return ServiceStatus(attestation=attestation, hold_code=hold.code, hold=hold.message)

    async def measure_loop_lag(self) -> None:
        """Measure how late the event loop is, for ever."""
        while True:
            due = trio.current_time() + LAG_EVERY_S
            await trio.sleep_until(due)
            self._lag_s = trio.current_time() - due
            self._lag_max_s = max(self._lag_max_s, self._lag_s)

    # -- metrics -----------------------------------------------------------------------------

    def metrics(self) -> str:
        """Everything that is counted, in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def collect(self) -> Iterator[Metric]:
        """Called by the registry: the figures as they are now."""
        core, shell = self._gossip.statistics()
        yield _counter(
            "p2pdaemon_gossip_dropped",
            "Datagrams, streams and items that were dropped.",
            {
                "mac": shell.dropped_mac,
                "malformed": shell.dropped_malformed,
                "unsendable": shell.dropped_unsendable,
                "stream": shell.streams_dropped,
                "turned-away": shell.streams_turned_away,
                "foreign-cell": core.totals.dropped_foreign_cell,
                "misplaced": core.totals.dropped_misplaced,
                "refused-item": core.totals.items_refused,
                "equivocation": core.equivocations,
                "state-full": core.state_refusals,
            },
        )
        yield _counter(
            "p2pdaemon_gossip_packets",
            "Gossip packets by direction.",
            {"sent": core.totals.packets_sent, "received": core.totals.packets_received},
        )
        yield _gauge(
            "p2pdaemon_members",
            "Hosts of the cell by what membership believes of them.",
            {
                "alive": core.members_alive,
                "suspect": core.members_suspect,
                "unreachable": core.members_unreachable,
            },
        )
        yield from self._collect_swarm()
        yield from self._collect_process()

    def _collect_swarm(self) -> Iterator[Metric]:
        progress = [torrent.progress() for torrent in self._stager.torrents().values()]
        yield _gauge(
            "p2pdaemon_torrents",
            "Releases by what the swarm does with them.",
            {
                "seeding": sum(p.complete for p in progress),
                "fetching": sum(not p.complete for p in progress),
            },
        )
        yield _counter(
            "p2pdaemon_fetched_bytes",
            "Payload received, by where it came from.",
            {
                "peers": sum(p.peer_bytes for p in progress),
                "origin": sum(p.dealt_bytes for p in progress),
            },
        )
        yield _counter(
            "p2pdaemon_hash_failures",
            "Pieces that arrived wrong.",
            {"piece": sum(p.hash_failures for p in progress)},
        )

    def _collect_process(self) -> Iterator[Metric]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield _counter(
            "p2pdaemon_failures",
            "Calls to the control plane and requests of operators that came to nothing.",
            {"control-plane": self._sync.failures, "host-api": self.requests_dropped},
        )
        yield _counter(
            "p2pdaemon_cpu_seconds", "Processor time.", {"all": used.ru_utime + used.ru_stime}
        )
        yield _gauge("p2pdaemon_rss_bytes", "Resident memory.", {"now": _rss_bytes()})
        yield _gauge(
            "p2pdaemon_loop_lag_seconds",
            "How late the event loop was.",
            {"last": self._lag_s, "max": self._lag_max_s},
        )


def _counter(name: str, text: str, values: dict[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["kind"])
    return _filled(family, values.items())


def _gauge(name: str, text: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["kind"])
    return _filled(family, values.items())


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Iterable[tuple[str, float]]
) -> Metric:
    for label, value in values:
        family.add_metric([label], value)
    return family


def _rss_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def _version() -> str:
    try:
        return version("p2pdeploy")
    except PackageNotFoundError:
        return "unknown"  # run from a checkout that was never installed
