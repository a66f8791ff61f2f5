"""What documents say, for whoever keeps them: nothing here judges a signature."""

from __future__ import annotations

import datetime as dt

from p2pdeploy.trust.releases.documents import keys_of_role, parse_document, parse_payload
from p2pdeploy.trust.releases.keys import TopKeys, service_role
from p2pdeploy.trust.releases.library import Root, Snapshot, Targets, Timestamp
from p2pdeploy.trust.releases.proposals import Proposal
from p2pdeploy.trust.releases.release_target import ReleaseTarget, live_releases
from p2pdeploy.trust.releases.repository import Repository
from p2pdeploy.trust.releases.verify import order_keys_in
from p2pdeploy.trust.role_keys import OrderRoles, RoleKeys

__all__ = [
    "expiries",
    "follows",
    "live_in",
    "order_keys_of",
    "order_keys_proposed",
    "proposed_by",
    "service_expiries",
    "services_proposed",
    "top_keys_in",
    "top_keys_of",
    "top_keys_proposed",
    "version_of_targets",
]


def live_in(document: bytes | None, service: str) -> dict[str, ReleaseTarget]:
    """The live releases of *service* by version, from its document; None has none.

    Raises:
        TrustError: it is no such document.
    """
    if document is None:
        return {}
    parsed = parse_document(document, Targets, where=service_role(service))
    return {
        version: live.release for version, live in live_releases(parsed.signed, service).items()
    }


def proposed_by(proposal: Proposal) -> dict[str, ReleaseTarget]:
    """The releases that would be live if *proposal*, which is a service's, were accepted."""
    signed = parse_payload(proposal.payload, Targets, where=proposal.role)
    live = live_releases(signed, proposal.role.removeprefix("svc/"))
    return {version: item.release for version, item in live.items()}


def follows(proposal: Proposal, current: bytes | None) -> bool:
    """Whether *proposal*, which is a service's, was made to come right after *current*."""
    before = 0
    if current is not None:
        before = parse_document(current, Targets, where=proposal.role).signed.version
    return parse_payload(proposal.payload, Targets, where=proposal.role).version == before + 1


def order_keys_of(targets: bytes) -> OrderRoles:
    """The keys of orders, from a targets document that is trusted already."""
    return order_keys_in(parse_document(targets, Targets, where="targets").signed)


def order_keys_proposed(proposal: Proposal) -> OrderRoles:
    """The keys of orders that *proposal*, which is of targets, would make known."""
    return order_keys_in(parse_payload(proposal.payload, Targets, where="targets"))


def services_proposed(proposal: Proposal) -> dict[str, RoleKeys]:
    """The publishers of each service as *proposal*, which is of targets, says."""
    signed = parse_payload(proposal.payload, Targets, where="targets")
    roles = signed.delegations.roles if signed.delegations else None
    return {name.removeprefix("svc/"): keys_of_role(signed, name) for name in roles or {}}


def top_keys_of(root: Root) -> TopKeys:
    """Who signs root, targets, snapshot and timestamp."""
    return TopKeys(
        root=keys_of_role(root, "root"),
        targets=keys_of_role(root, "targets"),
        snapshot=keys_of_role(root, "snapshot"),
        timestamp=keys_of_role(root, "timestamp"),
    )


def top_keys_in(root: bytes) -> TopKeys:
    """The same, from a root document that is trusted already."""
    return top_keys_of(parse_document(root, Root, where="root").signed)


def top_keys_proposed(proposal: Proposal) -> TopKeys:
    """The same, as *proposal*, which is of a root, would make it."""
    return top_keys_of(parse_payload(proposal.payload, Root, where="root"))


def version_of_targets(targets: bytes) -> int:
    """The number of a targets document that is trusted already."""
    return parse_document(targets, Targets, where="targets").signed.version


def service_expiries(repository: Repository) -> dict[str, dt.datetime]:
    """When what is live of each service expires, in UTC, by its name."""
    return {
        name: parse_document(document, Targets, where=service_role(name)).signed.expires
        for name, document in sorted(repository.services.items())
    }


def expiries(repository: Repository) -> dict[str, dt.datetime]:
    """When each of the four top documents expires, in UTC, by role."""
    targets = parse_document(repository.targets, Targets, where="targets").signed
    snapshot = parse_document(repository.snapshot, Snapshot, where="snapshot").signed
    timestamp = parse_document(repository.timestamp, Timestamp, where="timestamp").signed
    root: Root = repository.root
    return {
        "root": root.expires,
        "targets": targets.expires,
        "snapshot": snapshot.expires,
        "timestamp": timestamp.expires,
    }
