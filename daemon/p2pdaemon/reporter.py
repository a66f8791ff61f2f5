"""Reporter: what this host says of itself, to its cell and to its operators.

Facts about services come from the activation core alone, as attestations; the Reporter seals
them, spreads them, and keeps the newest of each to answer with.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import trio

from p2pdaemon.clock import HostClock
from p2pdaemon.config import DaemonConfig
from p2pdaemon.disk_room import DiskRoom
from p2pdaemon.log import get_logger
from p2pdaemon.stage_build import BuildStager
from p2pdaemon.sync_cell import CellSync
from p2pdeploy.activation.host import HostActivation
from p2pdeploy.activation.lease import Hold
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.loop_lag import measure_loop_lag
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.attestation import Attestation
from p2pdeploy.messages.host import ServiceStatus, Status
from p2pdeploy.messages.rates import RatesInForce
from p2pdeploy.trust.envelope import seal
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.signing import SigningKey

__all__ = ["Attester", "Reporter"]

LAG_EVERY_S = 5.0

_log = get_logger("reporter")


class Attester:
    """Seals this host's attestations, spreads them, and keeps the newest of each service.

    Args:
        gossip: The cell's replica; refuses what its verifier does.
        key: Seals; bears this host's credential.
        verifier: The same that gossip has: it judges us as each peer does that knows as much.
    """

    def __init__(self, gossip: GossipShell, key: SigningKey, verifier: FleetVerifier) -> None:
        self._gossip = gossip
        self._key = key
        self._verifier = verifier
        self._newest: dict[ServiceName, Attestation] = {}
        self._refused: tuple[bytes, P2PDeployError] | None = None  # by which credential, why

    def disbelief(self) -> P2PDeployError | None:
        """Why nobody believes what this host says now: it was revoked or enrolled anew, say."""
        if self._refused is not None and self._refused[0] == self._key.credential:
            return self._refused[1]
        try:
            self._verifier.believed(self._key.credential)
        except P2PDeployError as error:
            return error
        return None

    def publish(self, attestation: Attestation) -> None:
        """Seal *attestation* and tell the cell.

        While it would not be believed it is only kept: with the next credential the core says all
        of it again.
        """
        self._newest[attestation.service] = attestation
        try:
            self._gossip.publish(seal(attestation, self._key))
        except P2PDeployError as error:
            _log.warning("own attestation refused", code=error.code, reason=str(error))
            self._refused = (self._key.credential, error)

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
        room: On the disk, for releases.
        rates: What the swarm keeps to now.
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
        room: DiskRoom,
        rates: Callable[[], RatesInForce],
    ) -> None:
        self._rates = rates
        self._config = config
        self._epoch = epoch
        self._core = core
        self._attester = attester
        self._gossip = gossip
        self._clock = clock
        self._sync = sync
        self._stager = stager
        self._room = room
        self._started_s = trio.current_time()
        self._lag_s = 0.0
        self._lag_max_s = 0.0
        self.requests_dropped = 0  # of the host API: forged, malformed or too many

    def attestation(self, service: ServiceName) -> Attestation | None:
        """The newest word on *service*; None when this host has never had it."""
        return self._attester.newest().get(service)

    def why(self, service: ServiceName) -> Hold | None:
        """What holds the next step of *service*."""
        return _unbelieved(self._attester.disbelief()) or self._core.why(service)

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
            rates=self._rates(),
        )

    def _service(self, attestation: Attestation) -> ServiceStatus:
        hold = self.why(attestation.service)
        if hold is None:
            return ServiceStatus(attestation=attestation)
        return ServiceStatus(attestation=attestation, hold_code=hold.code, hold=hold.message)

    async def measure_loop_lag(self) -> None:
        """Measure how late the event loop is, for ever."""
        await measure_loop_lag(LAG_EVERY_S, self._take_lag)

    def _take_lag(self, lag_s: float) -> None:
        self._lag_s = lag_s
        self._lag_max_s = max(self._lag_max_s, lag_s)

    def metrics(self) -> str:
        """Everything that is counted, in Prometheus' text format."""
        # Loaded when somebody first asks: an idle daemon nobody scrapes saves 4 MB.
        from p2pdaemon.metrics import Figures, render

        core, shell = self._gossip.statistics()
        return render(
            Figures(
                core=core,
                shell=shell,
                torrents=[torrent.progress() for torrent in self._stager.torrents().values()],
                copied_bytes=self._stager.reused.copied_bytes,
                shared_bytes=self._stager.reused.shared_bytes,
                disk=self._room.usage(),
                received=self._stager.received(),
                control_failures=self._sync.failures,
                orders_refused=self._sync.refusals,
                requests_dropped=self.requests_dropped,
                rates=self._rates(),
                lag_s=self._lag_s,
                lag_max_s=self._lag_max_s,
            )
        )


def _unbelieved(error: P2PDeployError | None) -> Hold | None:
    return Hold("not-believed", f"nobody believes this host: {error}") if error else None


def _version() -> str:
    try:
        return version("p2pdeploy")
    except PackageNotFoundError:
        return "unknown"  # run from a checkout that was never installed
