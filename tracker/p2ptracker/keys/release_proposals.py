"""What is proposed to the owners of keys of releases, and whether what they signed is that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.ids import ServiceName
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_renewal,
    services_of,
)
from p2pdeploy.trust.releases.reading import (
    order_keys_proposed,
    proposed_by,
    services_proposed,
    top_keys_proposed,
)
from p2pdeploy.trust.releases.repository import Repository
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import RELEASE_ROLES

__all__ = ["as_proposed", "kind", "same_service", "sign"]


def kind(what: str) -> str:
    """The first part of the ids of the keys of *what*, a role or a service."""
    return what if what in RELEASE_ROLES else "publisher"


def same_service(
    before: Repository, service: ServiceName, now: dt.datetime
) -> tuple[Proposal, RoleKeys]:
    """What is live of *service*, for longer, and who must sign it.

    Raises:
        NotFoundError: nothing was ever signed for it.
    """
    current = before.services.get(service)
    publishers = services_of(before.targets).get(service)
    if current is None or publishers is None:
        raise NotFoundError("no release of this service is signed", where=service)
    return propose_renewal(current, service, now=now), publishers


def sign(proposal: Proposal, *keys: SigningKey) -> Proposal:
    """*proposal* with the signatures of *keys*."""
    return proposal_in(sign_file(proposal, *keys), proposal.role)


def as_proposed(signed: Sequence[bytes], proposals: Sequence[Proposal]) -> list[Proposal] | None:
    """What was signed, which must say what *proposals* say; None when nothing was.

    Raises:
        RefusedError: it says something else.
    """
    if not signed:
        return None
    given = [Proposal.from_bytes(data) for data in signed]
    if [_said(proposal) for proposal in given] != [_said(proposal) for proposal in proposals]:
        raise RefusedError(
            "something else was signed than is proposed by now",
            hint="run the command again",
            code="stale-proposal",
        )
    return given


def _said(proposal: Proposal) -> object:
    """Everything in it but its version and expiry: those are judged when it is accepted."""
    if proposal.role == "root":
        return proposal.role, top_keys_proposed(proposal)
    if proposal.role == "targets":
        return proposal.role, order_keys_proposed(proposal), services_proposed(proposal)
    return proposal.role, proposed_by(proposal)
