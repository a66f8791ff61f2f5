"""The way of a release from pending to signed.

The bytes of a release are in the registry before anybody signs it.  The control plane proposes
what its publishers sign; it can't sign for them, so what it holds is worth nothing to a thief.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from functools import partial
from typing import TypeVar

import msgspec
import structlog
import trio

from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.ids import ServiceName, Version, check_service, check_version
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.api import ReleaseView
from p2pdeploy.messages.signing import ProposalView, SignatureRequest
from p2pdeploy.trust.releases.collecting import join, missing_signatures
from p2pdeploy.trust.releases.proposals import Proposal, propose_release
from p2pdeploy.trust.releases.reading import follows, proposed_by
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.repository import Repository, accept_release, bundle_for
from p2ptracker.releases.delegating import add_service_if_new
from p2ptracker.releases.keeper import RepositoryKeeper
from p2ptracker.storage.interfaces import BlobStore, Database
from p2ptracker.storage.releases import find_release
from p2ptracker.storage.signed_releases import (
    StoredProposal,
    find_proposal,
    forget_proposal,
    save_proposal,
)
from p2ptracker.threads import Threads

__all__ = ["PROPOSAL_LIFETIME_S", "ReleaseDesk"]

T = TypeVar("T")

PROPOSAL_LIFETIME_S = 7 * 24 * 3600.0  # it says when its document expires, so it grows old itself

log = structlog.get_logger(__name__)


class ReleaseDesk:
    """Proposes, and takes signatures.

    Args:
        keeper: Holds what is signed.
        database: Where releases and proposals are.
        store: Where manifests are.
    """

    def __init__(self, keeper: RepositoryKeeper, database: Database, store: BlobStore) -> None:
        self._keeper, self._database, self._store = keeper, database, store
        self._lock = trio.Lock()  # a proposal is not replaced while somebody signs it
        self._threads = Threads(1)

    def __repr__(self) -> str:
        return f"<ReleaseDesk {self._keeper!r}>"

    # -- what is signed ----------------------------------------------------------------------

    def is_signed(self, release: ReleaseView) -> bool:
        """Whether hosts would accept it."""
        live = self._keeper.live(release.service).get(release.version)
        return live is not None and live.manifest_digest == release.manifest_digest

    def shown(self, release: ReleaseView) -> ReleaseView:
        """*release* with its state."""
        state = "signed" if self.is_signed(release) else "pending"
        return msgspec.structs.replace(release, state=state)

    def bundle(self, service: str, root_version: int) -> bytes:
        """What a host that has root *root_version* needs; raises NotFoundError."""
        return bundle_for(self._keeper.repository, service, root_version=root_version)

    # -- signing -----------------------------------------------------------------------------

    async def propose(
        self, service: ServiceName, version: Version, in_use: Collection[str]
    ) -> ProposalView:
        """What the publishers of a release in the registry must sign.  Idempotent.

        A service that nobody knew becomes the fleet's publishers' if the targets key is at hand.

        Args:
            service: The release's.
            version: The release's.
            in_use: Versions of the service that must stay signed.

        Raises:
            NotFoundError: it is not in the registry.
            RefusedError: nobody may sign for the service, or too many releases are in use.
        """
        async with self._lock:
            release = await self._release(service, version)
            if self.is_signed(release):
                return ProposalView(state="signed")
            is_added = await add_service_if_new(self._keeper, service)
            proposal = await self._waiting(service, version, in_use)
            if proposal is None:
                proposal = await self._propose(release, in_use)
                log.info("release-proposed", service=service, version=version)
            view = self._pending(proposal, service)
        return msgspec.structs.replace(view, service_added=is_added)

    async def sign(
        self,
        service: ServiceName,
        version: Version,
        request: SignatureRequest,
        in_use: Collection[str],
    ) -> ProposalView:
        """Take one publisher's signature; publish the release when it was the last one needed.

        Raises:
            RefusedError: it is for something that is proposed no more (``stale-proposal``).
            TrustError: it is none by a publisher of the service; nothing was kept of it.
        """
        async with self._lock:
            if self.is_signed(await self._release(service, version)):
                return ProposalView(state="signed")  # by another publisher, a moment ago
            proposal = await self._waiting(service, version, in_use)
            if proposal is None or digest_of(proposal.payload) != request.payload_digest:
                raise RefusedError(
                    "something else is proposed by now",
                    where=f"{service}/{version}",
                    hint=f"look again and sign: 'p2pctl release sign {service} {version}'",
                    code="stale-proposal",
                )
            joined = await self._threads.run(
                join, self._keeper.repository, proposal, request.key_id, request.signature
            )
            view = self._pending(joined, service)
            if view.missing_signatures:
                await self._save(service, version, joined)
                return view
            await self._keeper.change(
                partial(self._accepted, joined),
                also=partial(forget_proposal, service=service, version=version),
            )
        log.info("release-signed", service=service, version=version)
        return ProposalView(state="signed")

    # -- steps -------------------------------------------------------------------------------

    def _accepted(self, proposal: Proposal, before: Repository, now: dt.datetime) -> Repository:
        return accept_release(before, proposal, self._keeper.keys.online, now=now)

    def _pending(self, proposal: Proposal, service: ServiceName) -> ProposalView:
        repository = self._keeper.repository
        known = service if service in repository.services else ""
        return ProposalView(
            state="pending",
            missing_signatures=missing_signatures(repository, proposal),
            proposal=proposal.to_bytes(),
            bundle=bundle_for(repository, known, root_version=0),
        )

    async def _release(self, service: ServiceName, version: Version) -> ReleaseView:
        check_service(service)
        check_version(version)
        found = await self._database.read(partial(find_release, service=service, version=version))
        if found is None:
            raise NotFoundError(
                f"{service} {version} is not in the registry",
                hint=f"p2pctl publish {service} {version} PATH",
                code="no-release",
            )
        return found

    async def _waiting(
        self, service: ServiceName, version: Version, in_use: Collection[str]
    ) -> Proposal | None:
        """The proposal under way, if it can still be accepted and drops nothing in use."""
        find = partial(find_proposal, service=service, version=version)
        stored = await self._database.read(find)
        if (
            stored is None
            or self._keeper.now().timestamp() - stored.proposed_at > PROPOSAL_LIFETIME_S
        ):
            return None
        proposal = Proposal.from_bytes(stored.document)
        if not follows(proposal, self._keeper.repository.services.get(service)):
            return None
        dropped = self._keeper.live(service).keys() - proposed_by(proposal).keys()
        return None if dropped & set(in_use) else proposal

    async def _propose(self, release: ReleaseView, in_use: Collection[str]) -> Proposal:
        target = await self._threads.run(_target_of, self._store, release)
        current = self._keeper.repository.services.get(release.service)
        proposal = await self._threads.run(
            partial(propose_release, current, target, keep=in_use, now=self._keeper.now())
        )
        await self._save(release.service, release.version, proposal)
        return proposal

    async def _save(self, service: ServiceName, version: Version, proposal: Proposal) -> None:
        stored = StoredProposal(
            proposed_at=self._keeper.now().timestamp(), document=proposal.to_bytes()
        )
        save = partial(save_proposal, service=service, version=version, proposal=stored)
        await self._database.write(save)


def _target_of(store: BlobStore, release: ReleaseView) -> ReleaseTarget:
    manifest = store.get_object("manifest", release.manifest_digest)
    return ReleaseTarget.of_manifest(
        release.service, release.version, manifest, size_bytes=release.size_bytes
    )
