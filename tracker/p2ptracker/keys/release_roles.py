"""The keys of releases themselves (TUF): other keys by a new root, and what expires signed again.

A new root is judged by the one before it on every host, so nothing has to wait for anybody: a host
that has seen the old root takes the new one and what it names in the same bundle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog
import trio

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import check_service
from p2pdeploy.messages.keys import RotationAnswer, RotationRequest
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.releases.keys import OnlineKeys, TopKeys
from p2pdeploy.trust.releases.proposals import (
    Proposal,
    propose_root,
)
from p2pdeploy.trust.releases.reading import (
    top_keys_of,
)
from p2pdeploy.trust.releases.repository import (
    Repository,
    accept_release,
    accept_root,
    accept_targets,
    bundle_for,
)
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import (
    OFFLINE_ROLES,
    ONLINE_RELEASE_ROLES,
    TrustFolder,
)
from p2ptracker.authority.next_keys import drop_key, make_next_key, next_key
from p2ptracker.keys import answers
from p2ptracker.keys.release_proposals import (
    as_proposed,
    kind,
    same_service,
    sign,
)
from p2ptracker.releases.keeper import RepositoryKeeper, same_targets
from p2ptracker.releases.release_keys import ReleaseKeys
from p2ptracker.threads import Threads

__all__ = ["ReleaseRoles"]

log = structlog.get_logger(__name__)


class ReleaseRoles:
    """Gives root, targets, snapshot and timestamp other keys, and renews documents.

    Args:
        trust: Holds the private keys; gets the new ones.
        keeper: Publishes who signs.
    """

    def __init__(self, trust: TrustFolder, keeper: RepositoryKeeper) -> None:
        self._trust, self._keeper = trust, keeper
        self._lock = trio.Lock()
        self._files = Threads(1)

    def __repr__(self) -> str:
        return f"<ReleaseRoles of {self._trust.fleet}>"

    # -- other keys --------------------------------------------------------------------------

    async def rotate(self, role: str, request: RotationRequest) -> RotationAnswer:
        """Give *role* other keys by a new root; it holds on return, or must be signed first.

        Raises:
            RefusedError: there is nothing to finish, or people's keys are needed or are not.
            TrustError: what was signed is something else, or by other keys.
            UnavailableError: it could not be stored, and nothing changed; or a key that counts
                already is not in its place (``key-not-in-place``): try again.
        """
        if request.finish:
            raise RefusedError(f"the {role} key has no steps to finish", code="no-rotation")
        async with self._lock:
            await self._files.run(self._keeper.keys.take_named)  # or the only copy is overwritten
            keys = await self._who_takes_over(role, request)
            before = self._keeper.repository
            top = msgspec.structs.replace(top_keys_of(before.root), **{role: keys})
            proposals = self._proposals(before, top, with_targets=role == "targets")
            signed = as_proposed(request.signed, proposals) or await self._signed(
                proposals, role, request
            )
            if signed is None:
                return self._unsigned(role, keys, proposals)
            online = await self._files.run(self._online, role)
            await self._keeper.change(partial(_with_root, signed, online))
            await self._files.run(self._keep, role, keys, request)
        log.info("release-key-rotated", role=role, keys=keys.key_ids(role))
        return RotationAnswer(role=role, state="done", key_ids=keys.key_ids(role))

    async def _who_takes_over(self, role: str, request: RotationRequest) -> RoleKeys:
        if request.public_keys:
            if role in ONLINE_RELEASE_ROLES:
                raise RefusedError(
                    f"the control plane signs with the {role} key all the time",
                    hint="leave --public out: it makes the key itself",
                    code="not-for-people",
                )
            return RoleKeys(threshold=request.threshold, public_keys=request.public_keys)
        if role in OFFLINE_ROLES and await self._files.run(self._keeper.keys.read, role) is None:
            raise RefusedError(
                f"the {role} key lies offline, and so should the next one",
                hint="'p2pctl keys generate OUT' makes it; name it with --public OUT.pub",
                code="no-public-keys",
            )
        make = next_key if request.signed else make_next_key
        key = await self._files.run(make, self._trust.paths, role)
        return RoleKeys(threshold=1, public_keys=(key.public_key,))

    def _proposals(self, before: Repository, top: TopKeys, *, with_targets: bool) -> list[Proposal]:
        now = self._keeper.now()
        proposals = [propose_root(before.roots[-1], top, now=now)]
        if with_targets:
            proposals.append(same_targets(before, now))
        return proposals

    async def _signed(
        self, proposals: Sequence[Proposal], role: str, request: RotationRequest
    ) -> list[Proposal] | None:
        """Sign with the keys that lie here; None when one of them doesn't."""
        if request.public_keys:
            return None
        root = await self._files.run(self._keeper.keys.read, "root")
        if root is None:
            return None
        coming = await self._files.run(next_key, self._trust.paths, role)
        signers: dict[str, list[SigningKey]] = {"root": [root], "targets": [coming]}
        if role == "root":
            signers["root"].append(coming)
        return [sign(proposal, *signers[proposal.role]) for proposal in proposals]

    def _online(self, role: str) -> OnlineKeys:
        online = self._keeper.keys.online
        if role not in ONLINE_RELEASE_ROLES:
            return online
        return msgspec.structs.replace(online, **{role: next_key(self._trust.paths, role)})

    def _keep(self, role: str, keys: RoleKeys, request: RotationRequest) -> None:
        """Put the new key in place; what others hold is not here, and its public half is."""
        self._keeper.keys.take_named()
        if request.public_keys and self._keeper.keys.read(role) is None:
            public = self._trust.paths.keys / f"{role}.pub"
            write_private(public, f"{keys.public_keys[0].hex()}\n".encode())
            drop_key(self._trust.paths, role)

    # -- the same again, for longer ----------------------------------------------------------

    async def renew(self, what: str, signed: Sequence[bytes]) -> RotationAnswer:
        """Sign ``root``, ``targets`` or a service's document again, before it expires.

        Args:
            what: The role, or the service.
            signed: The proposals of an ``unsigned`` answer.

        Raises:
            NotFoundError: nothing was ever signed for that service.
            TrustError: what was signed is something else, or by other keys.
        """
        async with self._lock:
            before, now = self._keeper.repository, self._keeper.now()
            if what in OFFLINE_ROLES:
                keys = getattr(top_keys_of(before.root), what)
                again = (
                    propose_root(before.roots[-1], top_keys_of(before.root), now=now)
                    if what == "root"
                    else same_targets(before, now)
                )
            else:
                again, keys = same_service(before, check_service(what), now)
            given = as_proposed(signed, [again]) or await self._signed_here(what, again)
            if given is None:
                return self._unsigned(what, keys, [again])
            await self._keeper.change(partial(_renewed, given[0], self._keeper.keys))
        log.info("release-metadata-renewed", document=what)
        return RotationAnswer(role=what, state="done", key_ids=keys.key_ids(kind(what)))

    async def _signed_here(self, what: str, again: Proposal) -> list[Proposal] | None:
        if what not in OFFLINE_ROLES:
            return None
        key = await self._files.run(self._keeper.keys.read, what)
        return None if key is None else [sign(again, key)]

    # -- what both need ----------------------------------------------------------------------

    def _unsigned(self, role: str, keys: RoleKeys, proposals: Sequence[Proposal]) -> RotationAnswer:
        repository = self._keeper.repository
        service = role if role in repository.services else ""
        bundle = bundle_for(repository, service, root_version=0)
        return answers.unsigned(role, keys.key_ids(kind(role)), proposals, bundle)


def _with_root(
    signed: Sequence[Proposal], online: OnlineKeys, before: Repository, now: dt.datetime
) -> Repository:
    targets = signed[1] if len(signed) > 1 else None
    return accept_root(before, signed[0], online, now=now, targets=targets)


def _renewed(
    signed: Proposal, keys: ReleaseKeys, before: Repository, now: dt.datetime
) -> Repository:
    online = keys.online
    if signed.role == "root":
        return accept_root(before, signed, online, now=now)
    if signed.role == "targets":
        return accept_targets(before, signed, online, now=now)
    return accept_release(before, signed, online, now=now)
