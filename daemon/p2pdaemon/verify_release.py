"""Whether a build is a release that its publishers signed, asked before a byte of it is fetched.

Orders say when and where; only publishers say what.  So who steals every key of the control
plane can order hosts to stop, and to run what was signed, and nothing of his own.
Who signs orders is asked of the same metadata.

It is judged in a thread (``docs/adr/0013``).  What was seen is on the disk before the verdict is
known to anybody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from p2pdaemon.disk import disk_failure
from p2pdaemon.isolate import isolated
from p2pdaemon.judge_bundle import SEEN_FILE, alone_with, judge_orders, load_seen
from p2pdeploy.errors import NotFoundError, P2PDeployError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.orders import Build
from p2pdeploy.trust.bundle import KnownOrders
from p2pdeploy.trust.host_identity import save_known_orders
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.releases.refusals import Attack, refused
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.verify import verify_release

__all__ = ["ReleaseJudge"]

_VERDICT_S = 60.0  # it takes 5 ms, and two flushes of a disk; one that hangs takes longer
_NO_SERVICE = ServiceName("")

T = TypeVar("T")


class BundleSource(Protocol):
    """Where bundles come from; not trusted."""

    async def fetch_bundle(self, service: ServiceName, root_version: int) -> bytes: ...


class ReleaseJudge:
    """Judges builds and the keys of orders, one after the other.

    Args:
        source: Asked for the bundle of a service, and for the one without.
        state_dir: Where the host's memory of release metadata lies.
        root: The root of releases that the host got when it joined.
    """

    def __init__(self, source: BundleSource, state_dir: Path, root: bytes) -> None:
        self._source = source
        self._seen_path = state_dir / SEEN_FILE
        self._root = root
        # A bundle that was fetched earlier and judged later would look like a rollback.
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<ReleaseJudge {self._seen_path}>"

    async def verify(self, service: ServiceName, build: Build) -> ReleaseTarget:
        """What the publishers of *service* signed as *build*.

        Raises:
            TrustError: refused; the code names the attack.  Stage nothing of it.
            UnavailableError: the control plane or this host could not answer; try again later.
            ConfigError: the host's memory is not usable.
        """
        async with self._turn:
            bundle = await self._fetch(service, build, await self._root_version())
            signed = await self._judged(partial(self._judge_release, bundle, service, build))
        if signed.manifest_digest != build.digest:
            raise refused(
                Attack.UNKNOWN_RELEASE,
                f"ordered is {build.digest}, its publishers signed {signed.manifest_digest}",
                where=f"{service}/{build.version}",
            )
        return signed

    async def verify_orders(self, fleet: str, identity_dir: Path) -> KnownOrders:
        """Who signs orders of *fleet* now; kept in *identity_dir* on return.

        Raises:
            TrustError: refused; the code names the attack.  What was known holds.
            UnavailableError, ConfigError: as :meth:`verify`.
        """
        async with self._turn:
            bundle = await self._source.fetch_bundle(_NO_SERVICE, await self._root_version())
            return await self._judged(partial(self._judge_orders, bundle, fleet, identity_dir))

    async def _root_version(self) -> int:
        seen = await self._judged(partial(load_seen, self._seen_path, self._root))
        return seen.root_version

    async def _fetch(self, service: ServiceName, build: Build, root_version: int) -> bytes:
        try:
            return await self._source.fetch_bundle(service, root_version)
        except NotFoundError as error:
            raise refused(
                Attack.UNKNOWN_RELEASE, error.message, where=f"{service}/{build.version}"
            ) from error

    def _judge_release(self, bundle: bytes, service: ServiceName, build: Build) -> ReleaseTarget:
        with alone_with(self._seen_path):
            verified = verify_release(
                bundle,
                load_seen(self._seen_path, self._root),
                service=service,
                version=build.version,
                now=dt.datetime.now(dt.UTC),
            )
            write_private(self._seen_path, verified.seen.to_bytes())
        return verified.release

    def _judge_orders(self, bundle: bytes, fleet: str, identity_dir: Path) -> KnownOrders:
        with alone_with(self._seen_path):
            before = load_seen(self._seen_path, self._root)
            known, seen = judge_orders(bundle, before, fleet)
            write_private(self._seen_path, seen.to_bytes())
            save_known_orders(identity_dir, known)
        return known

    async def _judged(self, judge: Callable[[], T]) -> T:
        """What *judge* says, in a thread.

        Hostile bytes end in an error of ours, also those that nobody thought of: they are a
        reason to try again later, and none to end the daemon.

        Raises:
            UnavailableError: there is no verdict.
            P2PDeployError: as *judge*.
        """
        said: list[T] = []

        async def ask() -> None:
            try:
                said.append(
                    await trio.to_thread.run_sync(
                        judge, limiter=self._thread, abandon_on_cancel=True
                    )
                )
            except OSError as error:
                raise disk_failure(error, self._seen_path) from error

        with trio.move_on_after(_VERDICT_S):
            error = await isolated("judge release metadata", ask)
            if isinstance(error, P2PDeployError):
                raise error
            if error is not None:
                raise _no_verdict(f"{type(error).__name__}: {error}") from error
            return said[0]
        raise _no_verdict(f"it took more than {_VERDICT_S:g} s")


def _no_verdict(why: str) -> UnavailableError:
    return UnavailableError(
        f"the release could not be verified: {why}",
        hint="is the disk overloaded, or the memory full?",
        code="verify-failed",
    )
