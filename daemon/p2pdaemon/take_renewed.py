"""Give the running daemon what a renewal brought: connections that stand go on under the old."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import trio

from p2pdaemon.cell_feed import CellFeed
from p2pdaemon.config import DaemonConfig
from p2pdaemon.follow_orders import OrderFollower
from p2pdaemon.own_identity import load_own_identity
from p2pdeploy.swarm.identity import SwarmIdentity
from p2pdeploy.swarm.session import Session
from p2pdeploy.trust.host_identity import HostIdentity
from p2pdeploy.trust.signing import SigningKey

__all__ = ["RenewedIdentity", "swarm_identity"]

_files = trio.CapacityLimiter(1)


def swarm_identity(identity: HostIdentity) -> SwarmIdentity:
    """What *identity* presents in the swarm."""
    return SwarmIdentity(
        certificate_pem=identity.swarm_pem,
        key_pem=identity.swarm_pem,
        authority_pem=identity.bundle.swarm_ca_pem,
    )


class RenewedIdentity:
    """Knows all who present the identity, or go by it.

    Args:
        config: Of this host.
        key: Seals attestations; gets the new credential.
        contexts: Present the certificate.
        session: The swarm.
        follower: Follows the keys of orders, which a renewal judges as well.
        feed: Has the core say all it has said again, under the new credential.
    """

    def __init__(
        self,
        config: DaemonConfig,
        key: SigningKey,
        contexts: Sequence[ssl.SSLContext],
        session: Session,
        follower: OrderFollower,
        feed: CellFeed,
    ) -> None:
        self._config, self._key, self._contexts = config, key, contexts
        self._session, self._follower, self._feed = session, follower, feed

    async def take(self) -> None:
        """Take the files as they are now.

        Raises:
            ConfigError: they are missing, damaged or another host's; nothing was taken.
            TrustError: a key that is not its certificate's, or another authority.
        """
        fresh = await trio.to_thread.run_sync(load_own_identity, self._config, limiter=_files)
        for each in self._contexts:  # here: OpenSSL may not change one that is in use elsewhere
            each.load_cert_chain(fresh.files.certificate, fresh.files.key)
        self._session.renew(swarm_identity(fresh))
        is_replaced = fresh.key.credential != self._key.credential
        self._key.credential = fresh.key.credential
        self._follower.take_renewed(fresh)
        if is_replaced:
            self._feed.say_again()
