"""Rotating keys from here: what keys that lie offline must sign is looked at and signed here.

The control plane says what is to be signed, and is believed in nothing (:mod:`p2pctl.reviewing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from p2pctl.client import ApiClient
from p2pctl.signing import read_key, read_release_root
from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.messages.keys import RenewalRequest, RotationAnswer, RotationRequest
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

__all__ = ["NewKey", "generate_key", "renew_document", "rotate_key"]


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was made: the files of its halves, and the public one in hexadecimal."""

    private: str
    public: str
    public_key: str


def generate_key(out: Path) -> NewKey:
    """Make a key for a person: *out*, which nobody else may read, and *out*.pub.

    Raises:
        RefusedError: there is a file of one of these names already; none was changed.
        OSError: the folder can't be written.
    """
    public = out.with_name(f"{out.name}.pub")
    for path in (out, public):
        if path.exists():
            raise RefusedError("there is a file already", where=str(path), code="file-exists")
    key = SigningKey.generate()
    write_private(out, key.to_pem())
    public.write_text(f"{key.public_key.hex()}\n")
    return NewKey(private=str(out), public=str(public), public_key=key.public_key.hex())


def rotate_key(
    api: ApiClient, role: str, request: RotationRequest, key_files: Sequence[Path]
) -> RotationAnswer:
    """Make the next step of a rotation, signing with *key_files* what must be signed for it.

    Raises:
        ConfigError: a key that lies offline is needed and was not named, or is not usable.
        TrustError: what would be signed is more than this rotation, or the keys may not sign it.
        RefusedError: not now; says when.
    """
    to = _who_takes_over(request)
    answer = api.rotate_key(role, request)
    if answer.state != "unsigned":
        return answer
    signed = _signed(api, answer, key_files, changing=role, to=to, finish=request.finish)
    return api.rotate_key(role, msgspec.structs.replace(request, signed=signed))


def _who_takes_over(request: RotationRequest) -> RoleKeys | None:
    """The people whom *request* names; raises ConfigError for a threshold that can't be met."""
    if not request.public_keys:
        return None
    return RoleKeys(threshold=request.threshold, public_keys=request.public_keys)


def renew_document(
    api: ApiClient, what: str, key_files: Sequence[Path], *, is_role: bool
) -> RotationAnswer:
    """Have the document of a role or a service signed again; errors as :func:`rotate_key`."""
    answer = api.renew_document(what, RenewalRequest(), is_role=is_role)
    if answer.state != "unsigned":
        return answer
    signed = _signed(api, answer, key_files)
    return api.renew_document(what, RenewalRequest(signed=signed), is_role=is_role)


def _signed(
    api: ApiClient,
    answer: RotationAnswer,
    key_files: Sequence[Path],
    *,
    changing: str = "",
    to: RoleKeys | None = None,
    finish: bool = False,
) -> tuple[bytes, ...]:
    from p2pctl.reviewing import Trusted
    from p2pdeploy.trust.releases.proposals import Proposal, sign

    if not key_files:
        raise ConfigError(
            "keys that lie offline must sign this",
            hint="name each with --key FILE",
            code="no-key",
        )
    trusted = Trusted(read_release_root(api.folder), answer.bundle)
    found: list[bytes] = []
    for data in answer.proposals:
        proposal = Proposal.from_bytes(data)
        trusted.require_only(proposal, changing=changing, to=to, finish=finish)
        signatures = dict(sign(proposal, read_key(path, proposal.role)) for path in key_files)
        found.append(msgspec.structs.replace(proposal, signatures=signatures).to_bytes())
    return tuple(found)
