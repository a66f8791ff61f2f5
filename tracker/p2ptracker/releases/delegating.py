"""Who publishes what: the targets document, changed by whoever holds the targets keys.

In a fleet whose targets key lies with the control plane a new service becomes the fleet's
publishers' by itself.  Where it lies offline, as it should, its owner decides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import structlog

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import ServiceName, check_service
from p2pdeploy.messages.signing import DelegationView
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.proposals import Proposal, propose_targets, services_of
from p2pdeploy.trust.releases.reading import order_keys_of
from p2pdeploy.trust.releases.repository import Repository, accept_targets
from p2ptracker.releases.keeper import RepositoryKeeper

__all__ = ["add_service_if_new", "delegate", "require_publishers"]

log = structlog.get_logger(__name__)


def require_publishers(keeper: RepositoryKeeper, service: ServiceName) -> None:
    """Return if somebody may sign releases of *service*, or will as soon as there is one.

    Raises:
        RefusedError: nobody may, and the key that could change it lies offline.
    """
    check_service(service)
    if not keeper.keys.has_targets and service not in services_of(keeper.repository.targets):
        raise _no_publishers(service)


def _no_publishers(service: ServiceName) -> RefusedError:
    """The error for a service that nobody publishes."""
    return RefusedError(
        f"nobody may sign releases of {service} yet, and the targets key lies offline",
        where=service,
        hint=f"its owner runs 'p2pctl release delegate {service} --key targets.key'",
        code="no-publishers",
    )


async def add_service_if_new(keeper: RepositoryKeeper, service: ServiceName) -> bool:
    """Make a service that nobody knew the fleet's publishers'; returns whether it was new.

    Raises:
        RefusedError: as :func:`require_publishers`.
        UnavailableError: it could not be stored.
    """
    if service in services_of(keeper.repository.targets):
        return False
    require_publishers(keeper, service)

    def with_service(before: Repository, now: dt.datetime) -> Repository:
        keys = keeper.keys
        targets_key = keys.read("targets")
        if targets_key is None:  # taken offline a moment ago
            raise _no_publishers(service)
        proposal = propose_targets(
            before.targets,
            order_keys=order_keys_of(before.targets),
            services={service: keys.new_service, **services_of(before.targets)},
            now=now,
        )
        signed = proposal_in(sign_file(proposal, targets_key), "targets")
        return accept_targets(before, signed, keys.online, now=now)

    await keeper.change(with_service)
    log.info("service-added", service=service)
    return True


async def delegate(
    keeper: RepositoryKeeper, proposal: Proposal, renewed: Sequence[Proposal]
) -> DelegationView:
    """Publish who publishes what, as the targets keys signed it.

    *renewed*: documents of services whose publishers change, signed by the new ones.

    Raises:
        RefusedError: something else was published meanwhile (``stale-proposal``), or a service
            would lose the keys that signed its releases (``needs-signing``).
        TrustError: the targets keys did not sign it, or the new publishers what they renew.
        UnavailableError: it could not be stored.
    """

    def accepted(before: Repository, now: dt.datetime) -> Repository:
        return accept_targets(before, proposal, keeper.keys.online, now=now, services=renewed)

    after = await keeper.change(accepted)
    services = {name: keys.threshold for name, keys in services_of(after.targets).items()}
    log.info("services-delegated", services=len(services))
    return DelegationView(services=services)
