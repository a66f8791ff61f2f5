"""Whether a build is a release that its publishers signed, asked before a byte of it is fetched.

Orders say when and where; only publishers say what.  So who steals every key of the control
plane can order hosts to stop, and to run what was signed, and nothing of his own.
Who signs orders is asked of the same metadata.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

import trio

from p2pdaemon.judge_bundle import (
    SEEN_FILE,
    VERDICT_BYTES_MAX,
    OrdersQuestion,
    Question,
    Refused,
    SignedOrders,
    SignedRelease,
    Verdict,
    load_seen,
)
from p2pdaemon.log import get_logger
from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import NotFoundError, ProtocolError, TrustError, UnavailableError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.orders import Build
from p2pdeploy.trust.bundle import KnownOrders
from p2pdeploy.trust.releases.refusals import Attack, refused

__all__ = ["ReleaseJudge"]

_CHILD_TIMEOUT_S = 60.0  # it takes 0.3 s; ten daemons that start on one core take longer
# -P: what lies in the working directory is no module of ours.
_COMMAND = (sys.executable, "-P", "-m", "p2pdaemon.judge_release")
_WORDS_MAX = 500  # of a child that failed, for the log
_NO_SERVICE = ServiceName("")

_log = get_logger("verify_release")


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

    async def verify(self, service: ServiceName, build: Build) -> SignedRelease:
        """What the publishers of *service* signed as *build*.

        Raises:
            TrustError: refused; the code names the attack.  Stage nothing of it.
            UnavailableError: the control plane or this host could not answer; try again later.
            ConfigError: the host's memory is not usable.
        """
        async with self._turn:
            question = Question(
                bundle=await self._fetch(service, build, await self._root_version()),
                root=self._root,
                seen_path=str(self._seen_path),
                service=service,
                version=build.version,
            )
            verdict = await _ask_child(question)
        if not isinstance(verdict, SignedRelease):
            raise _refusal(verdict, about=service)
        if verdict.manifest_digest != build.digest:
            raise refused(
                Attack.UNKNOWN_RELEASE,
                f"ordered is {build.digest}, its publishers signed {verdict.manifest_digest}",
                where=f"{service}/{build.version}",
            )
        return verdict

    async def verify_orders(self, fleet: str, identity_dir: Path) -> KnownOrders:
        """Who signs orders of *fleet* now; kept in *identity_dir* on return.

        Raises:
            TrustError: refused; the code names the attack.  What was known holds.
            UnavailableError, ConfigError: as :meth:`verify`.
        """
        async with self._turn:
            question = OrdersQuestion(
                bundle=await self._source.fetch_bundle(_NO_SERVICE, await self._root_version()),
                root=self._root,
                seen_path=str(self._seen_path),
                identity_dir=str(identity_dir),
                fleet=fleet,
            )
            verdict = await _ask_child(question)
        if not isinstance(verdict, SignedOrders):
            raise _refusal(verdict, about="order keys")
        return verdict.known

    async def _root_version(self) -> int:
        seen = await trio.to_thread.run_sync(
            load_seen, self._seen_path, self._root, limiter=self._thread
        )
        return seen.root_version

    async def _fetch(self, service: ServiceName, build: Build, root_version: int) -> bytes:
        try:
            return await self._source.fetch_bundle(service, root_version)
        except NotFoundError as error:
            raise refused(
                Attack.UNKNOWN_RELEASE, error.message, where=f"{service}/{build.version}"
            ) from error


def _refusal(verdict: Verdict, *, about: str) -> TrustError:
    """What the child refused, as an error of ours; an answer to another question is one as well."""
    if not isinstance(verdict, Refused):
        return refused(Attack.MALFORMED, f"answered with {type(verdict).__name__}", where=about)
    _log.warning("release metadata refused", about=about, code=verdict.code)
    return TrustError(verdict.message, where=verdict.where, hint=verdict.hint, code=verdict.code)


async def _ask_child(question: Question | OrdersQuestion) -> Verdict:
    """Run the judge; raises UnavailableError when it could not do its work."""
    try:
        with trio.fail_after(_CHILD_TIMEOUT_S):
            done = await trio.run_process(
                _COMMAND,
                stdin=encode(question),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        if done.returncode == 0:
            return decode(done.stdout, Verdict, bytes_max=VERDICT_BYTES_MAX)  # pyright: ignore[reportArgumentType] a union is a type form
        why = f"it ended with {_last_words(done)}"
    except trio.TooSlowError:
        why = f"it took more than {_CHILD_TIMEOUT_S:g} s"
    except (OSError, ProtocolError) as error:
        why = str(error)
    raise UnavailableError(
        f"the release could not be verified: {why}",
        hint="is the disk full, or the memory?",
        code="verify-failed",
    )


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"code {done.returncode}: {words[:_WORDS_MAX]}"
