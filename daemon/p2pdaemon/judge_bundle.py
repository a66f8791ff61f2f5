"""``p2pdaemon verify-release``: judges one bundle of release metadata, remembers it, and ends.

A short process of its own, since python-tuf costs memory that the daemon does without.  The
question comes on standard input, the verdict goes to standard output, both as msgpack.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.trust.private_files import read_private, write_private
from p2pdeploy.trust.releases.limits import BUNDLE_BYTES_MAX, ROOT_BYTES_MAX
from p2pdeploy.trust.releases.seen import Seen

__all__ = [
    "QUESTION_BYTES_MAX",
    "SEEN_FILE",
    "VERDICT_BYTES_MAX",
    "Question",
    "Refused",
    "SignedRelease",
    "Verdict",
    "answer",
    "load_seen",
]

SEEN_FILE = "release-seen"
"""In the host's state folder: what it remembers, a ``p2pdeploy.trust.releases.seen.Seen``."""

QUESTION_BYTES_MAX = BUNDLE_BYTES_MAX + ROOT_BYTES_MAX + 8 * 1024  # and the names
VERDICT_BYTES_MAX = 16 * 1024  # an error may quote what python-tuf says
_HINT = "if it can't be restored, join again: 'p2pdaemon join --again TOKEN'"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Did its publishers sign this release?

    ``root`` is what the host trusts if it has seen nothing yet; ``seen_path`` is its memory.
    """

    bundle: bytes
    root: bytes
    seen_path: str
    service: ServiceName
    version: Version


class SignedRelease(msgspec.Struct, frozen=True, kw_only=True, tag="signed"):
    """What its publishers signed of a release.  ``size_bytes`` is the payload's."""

    manifest_digest: Digest
    manifest_sha256: str
    manifest_bytes: int
    size_bytes: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Nothing was remembered; the fields are those of an error."""

    code: str
    message: str
    where: str = ""
    hint: str = ""


Verdict = SignedRelease | Refused


def answer(data: bytes) -> bytes:
    """The verdict on the question in *data*.  What was seen is on disk before it is returned.

    Raises:
        ProtocolError: *data* is no question.
        OSError: the memory could not be written: there is no verdict then.
    """
    question = decode(data, Question, bytes_max=QUESTION_BYTES_MAX)
    try:
        verdict: Verdict = _judge(question)
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


def _judge(question: Question) -> SignedRelease:
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
