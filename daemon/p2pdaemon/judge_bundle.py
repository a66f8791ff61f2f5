"""Judges one bundle of release metadata, and remembers it.

In a short process of its own (:mod:`p2pdaemon.judge_release`), since python-tuf costs memory that
the daemon does without.  Question and verdict are msgpack.

A bundle is asked about for a release, or for the keys that sign orders.
"""

from __future__ import annotations

import datetime as dt
import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.trust.bundle import KnownOrders
from p2pdeploy.trust.host_identity import save_known_orders
from p2pdeploy.trust.keyring import OrderKeys
from p2pdeploy.trust.private_files import read_private, write_private
from p2pdeploy.trust.releases.limits import BUNDLE_BYTES_MAX, ROOT_BYTES_MAX
from p2pdeploy.trust.releases.seen import Seen

__all__ = [
    "QUESTION_BYTES_MAX",
    "SEEN_FILE",
    "VERDICT_BYTES_MAX",
    "OrdersQuestion",
    "Question",
    "Refused",
    "SignedOrders",
    "SignedRelease",
    "Verdict",
    "alone_with",
    "answer",
    "judge_orders",
    "load_seen",
]

SEEN_FILE = "release-seen"
"""In the host's state folder: what it remembers, a ``p2pdeploy.trust.releases.seen.Seen``."""

QUESTION_BYTES_MAX = BUNDLE_BYTES_MAX + ROOT_BYTES_MAX + 8 * 1024  # and the names
VERDICT_BYTES_MAX = 32 * 1024  # an error may quote what python-tuf says; keys take 16 KiB
_HINT = "if it can't be restored, join again: 'p2pdaemon join --again TOKEN'"


class Question(msgspec.Struct, frozen=True, kw_only=True, tag="release"):
    """Did its publishers sign this release?

    ``root`` is what the host trusts if it has seen nothing yet; ``seen_path`` is its memory.
    """

    bundle: bytes
    root: bytes
    seen_path: str
    service: ServiceName
    version: Version


class OrdersQuestion(msgspec.Struct, frozen=True, kw_only=True, tag="orders"):
    """Who signs orders of *fleet*?  The answer is kept in *identity_dir* as well."""

    bundle: bytes
    root: bytes
    seen_path: str
    identity_dir: str
    fleet: str


class SignedRelease(msgspec.Struct, frozen=True, kw_only=True, tag="signed"):
    """What its publishers signed of a release.  ``size_bytes`` is the payload's."""

    manifest_digest: Digest
    manifest_sha256: str
    manifest_bytes: int
    size_bytes: int


class SignedOrders(msgspec.Struct, frozen=True, kw_only=True, tag="orders"):
    """Who signs orders, as the targets keys signed it."""

    known: KnownOrders


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Nothing was remembered; the fields are those of an error."""

    code: str
    message: str
    where: str = ""
    hint: str = ""


Verdict = SignedRelease | SignedOrders | Refused


def answer(data: bytes) -> bytes:
    """The verdict on the question in *data*.  What was seen is on disk before it is returned.

    Raises:
        ProtocolError: *data* is no question.
        OSError: the memory could not be written: there is no verdict then.
    """
    question: Question | OrdersQuestion = decode(
        data,
        Question | OrdersQuestion,  # pyright: ignore[reportArgumentType] a union is a type form
        bytes_max=QUESTION_BYTES_MAX,
    )
    try:
        with alone_with(Path(question.seen_path)):
            verdict: Verdict
            if isinstance(question, Question):
                verdict = _judge_release(question)
            else:
                verdict = _judge_orders(question)
    except P2PDeployError as error:
        verdict = Refused(
            code=error.code, message=error.message, where=error.where, hint=error.hint
        )
    return encode(verdict)


def load_seen(path: Path, root: bytes) -> Seen:
    """What this host remembers; *root* and nothing else when it has seen nothing.

    Raises:
        ConfigError: others can read the memory.
        TrustError: it is damaged.
    """
    if not path.exists():
        return Seen(root=root)
    return Seen.from_bytes(read_private(path, hint=_HINT))


@contextmanager
def alone_with(path: Path) -> Generator[None]:
    """Let no other process judge by the memory at *path* meanwhile; waits for its turn.

    A renewal and the daemon's own judge are two processes, and the one that reads first must
    not write last.
    """
    with path.with_name(f"{path.name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def judge_orders(bundle: bytes, seen: Seen, fleet: str) -> tuple[KnownOrders, Seen]:
    """Who signs orders of *fleet*, and what to remember before anything is done about it.

    Args:
        bundle: Signed metadata, from anywhere.
        seen: What this host remembers.
        fleet: Ours.

    Raises:
        TrustError: refused; the code names the attack.
    """
    from p2pdeploy.trust.releases.verify import verify_order_keys

    verified = verify_order_keys(bundle, seen, now=dt.datetime.now(dt.UTC))
    known = KnownOrders(
        targets_version=verified.seen.roles["targets"].version,
        orders=OrderKeys(fleet, verified.order_keys),
    )
    return known, verified.seen


def _judge_orders(question: OrdersQuestion) -> SignedOrders:
    path = Path(question.seen_path)
    known, seen = judge_orders(question.bundle, load_seen(path, question.root), question.fleet)
    write_private(path, seen.to_bytes())
    save_known_orders(Path(question.identity_dir), known)
    return SignedOrders(known=known)


def _judge_release(question: Question) -> SignedRelease:
    from p2pdeploy.trust.releases.verify import verify_release

    path = Path(question.seen_path)
    seen = load_seen(path, question.root)
    now = dt.datetime.now(dt.UTC)
    verified = verify_release(
        question.bundle, seen, service=question.service, version=question.version, now=now
    )
    write_private(path, verified.seen.to_bytes())
    release = verified.release
    return SignedRelease(
        manifest_digest=release.manifest_digest,
        manifest_sha256=release.manifest_sha256,
        manifest_bytes=release.manifest_bytes,
        size_bytes=release.size_bytes,
    )
