"""Follow the keys that sign orders: they come and go with the signed targets document.

The control plane says once a minute which version of that document is the newest
(:mod:`p2pdaemon.learn_trust`).  On another one than we know the bundle is fetched and judged;
what it says counts, whatever the control plane says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from p2pdaemon.log import get_logger
from p2pdaemon.verify_release import ReleaseJudge
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.trust.bundle import KnownOrders
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.host_identity import HostIdentity
from p2pdeploy.trust.keyring import FleetVerifier

__all__ = ["OrderFollower"]

_log = get_logger("trust")


class OrderFollower:
    """Keeps the verifier at the newest keys, and the cell's state free of what they refuse.

    Args:
        identity: Ours, with the keys that were known when the daemon started.
        folder: The identity's, where the judge keeps the keys.
        judge: Judges bundles.
        verifier: Takes the keys.
        gossip: Drops what was sealed with keys that are gone.
        renew: Called when our own credential was: a renewal brings another one.
    """

    def __init__(
        self,
        identity: HostIdentity,
        folder: Path,
        judge: ReleaseJudge,
        verifier: FleetVerifier,
        gossip: GossipShell,
        renew: Callable[[], None],
    ) -> None:
        self._fleet, self._folder, self._judge = identity.bundle.fleet, folder, judge
        self._verifier, self._gossip, self._renew = verifier, gossip, renew
        self._known, self._credential = identity.known_orders, identity.key.credential

    def __repr__(self) -> str:
        return f"<OrderFollower at targets {self._known.targets_version}>"

    async def learn(self, targets_version: int) -> None:
        """Learn the keys anew unless those of *targets_version* are known.

        Raises:
            TrustError: what came is not signed as it must be; what was known holds.
            UnavailableError: no answer; try again later.
        """
        if targets_version != self._known.targets_version:
            self._take(await self._judge.verify_orders(self._fleet, self._folder))

    def take_renewed(self, identity: HostIdentity) -> None:
        """Take what a renewal brought: it has judged the keys as well."""
        self._credential = identity.key.credential
        self._take(identity.known_orders)

    def _take(self, known: KnownOrders) -> None:
        if known.targets_version < self._known.targets_version:
            return  # judged before what we know, and taken only now
        if known.orders != self._known.orders:
            stricter = self._verifier.use(known.orders)
            dropped = 0
            if stricter:  # each costs a verification; who only learns one more key has none to do
                dropped = self._gossip.drop_unverified(attestations="enrol" in stricter)
                self._renew_if_refused()
            _log.info("order keys changed", targets=known.targets_version, dropped=dropped)
        self._known = known

    def _renew_if_refused(self) -> None:
        try:
            open_envelope(self._credential, self._verifier)
        except P2PDeployError:
            _log.warning("our credential is sealed with a key that is gone")
            self._renew()
