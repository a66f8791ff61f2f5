"""Makes other keys of orders known: a targets document, signed here or by who has the key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable

import sqlalchemy as sa

from p2pdeploy.errors import ConfigError, RefusedError, TrustError
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.proposals import Proposal, propose_targets, services_of
from p2pdeploy.trust.releases.reading import (
    order_keys_of,
    order_keys_proposed,
    services_proposed,
)
from p2pdeploy.trust.releases.repository import Repository, accept_targets, bundle_for
from p2pdeploy.trust.role_keys import OrderRoles, RoleKeys
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.releases.keeper import RepositoryKeeper
from p2ptracker.threads import Threads

__all__ = ["OrderKeyPublisher"]


class OrderKeyPublisher:
    """Publishes who signs orders, through *keeper*."""

    def __init__(self, keeper: RepositoryKeeper) -> None:
        self._keeper = keeper
        self._files = Threads(1)

    def __repr__(self) -> str:
        return f"<OrderKeyPublisher of {self._keeper!r}>"

    @property
    def is_alone_enough(self) -> bool:
        """Whether the targets key lies here, so that nobody has to be asked."""
        return self._keeper.keys.has_targets

    def order_keys(self) -> OrderRoles:
        """Who signs orders now."""
        return order_keys_of(self._keeper.repository.targets)

    def require_known(self, trust: TrustFolder) -> None:
        """Return if hosts know every key that *trust* signs orders with.

        Raises:
            ConfigError: they do not know one; nothing may be sealed with it.
        """
        published = self.order_keys()
        for role in ORDER_ROLES:
            own, known = trust.keys.get(role), published[role].public_keys
            if own is not None and own.public_key not in known and role != "rollout":
                raise ConfigError(
                    f"hosts do not know the {role} key of this folder",
                    where=str(trust.paths.key(role)),
                    hint="restore the folder and the database from the same backup",
                    code="wrong-order-key",
                )

    def bundle(self) -> bytes:
        """What a proposal follows, for whoever signs it."""
        return bundle_for(self._keeper.repository, "", root_version=0)

    async def publish(
        self,
        said: OrderRoles,
        signed: Iterable[bytes],
        *,
        also: Callable[[sa.Connection], None],
    ) -> tuple[Proposal, ...]:
        """Make *said* known, in one transaction with *also*.

        Args:
            said: Who signs orders from then on.
            signed: A proposal of before, signed by its owner; or none.
            also: What is stored with it.

        Returns:
            What must be signed first; nothing when it was published.

        Raises:
            RefusedError: something else was signed than is proposed by now (``stale-proposal``).
            TrustError: it is not signed by the targets keys.
            UnavailableError: it could not be stored; nothing changed.
        """
        current = self._keeper.repository.targets
        services = services_of(current)
        given = [Proposal.from_bytes(each) for each in signed]
        if given:
            proposal = _the_one(given, said, services)
        else:
            proposal = propose_targets(
                current, order_keys=said, services=services, now=self._keeper.now()
            )
            key = await self._files.run(self._keeper.keys.read, "targets")
            if key is None:
                return (proposal,)
            proposal = proposal_in(sign_file(proposal, key), "targets")

        def work(before: Repository, now: dt.datetime) -> Repository:
            return accept_targets(before, proposal, self._keeper.keys.online, now=now)

        await self._keeper.change(work, also=also)
        return ()


def _the_one(given: list[Proposal], said: OrderRoles, services: dict[str, RoleKeys]) -> Proposal:
    """The proposal in *given*, which must say *said* and nothing else."""
    if len(given) != 1 or given[0].role != "targets":
        raise TrustError("a targets document is to be signed", code="other-proposal")
    same_keys = order_keys_proposed(given[0]) == said
    if not same_keys or services_proposed(given[0]) != services:
        raise RefusedError(
            "something else was signed than is proposed by now",
            hint="run the command again",
            code="stale-proposal",
        )
    return given[0]
