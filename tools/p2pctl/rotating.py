"""Rotating keys from here: what keys that lie offline must sign is looked at and signed here.

The control plane says what is to be signed, and is believed in nothing: what is in force is judged
by the root of releases in ``DIR/ca``, and a proposal may change the role that is rotated alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import msgspec

from p2pctl.client import ApiClient
from p2pctl.signing import read_key, read_release_root
from p2pdeploy.errors import ConfigError, RefusedError, TrustError
from p2pdeploy.messages.keys import RotationAnswer, RotationRequest
from p2pdeploy.trust.keyring import NEXT
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.signing import SigningKey

__all__ = ["NewKey", "generate_key", "rotate_key"]


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
    answer = api.rotate_key(role, request)
    if answer.state != "unsigned":
        return answer
    if not key_files:
        raise ConfigError(
            "the targets key lies offline, and must sign this",
            hint="name it with --key FILE",
            code="no-key",
        )
    signed = _signed(api, answer, request, key_files)
    return api.rotate_key(role, msgspec.structs.replace(request, signed=signed))


def _signed(
    api: ApiClient, answer: RotationAnswer, request: RotationRequest, key_files: Sequence[Path]
) -> tuple[bytes, ...]:
    from p2pdeploy.trust.releases.proposals import Proposal, sign

    found: list[bytes] = []
    for data in answer.proposals:
        proposal = Proposal.from_bytes(data)
        _require_rotation(api, proposal, answer, request)
        signatures = dict(sign(proposal, read_key(path, proposal.role)) for path in key_files)
        found.append(msgspec.structs.replace(proposal, signatures=signatures).to_bytes())
    return tuple(found)


def _require_rotation(
    api: ApiClient, proposal: object, answer: RotationAnswer, request: RotationRequest
) -> None:
    """Return if *proposal* changes who signs in the role that is rotated, and nothing else."""
    from p2pdeploy.trust.releases.bundle import ReleaseBundle
    from p2pdeploy.trust.releases.proposals import Proposal, services_of
    from p2pdeploy.trust.releases.reading import order_keys_proposed, services_proposed
    from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys

    assert isinstance(proposal, Proposal)
    seen, now = first_seen(read_release_root(api.folder)), dt.datetime.now(dt.UTC)
    trusted = verify_order_keys(answer.bundle, seen, now=now)
    current = ReleaseBundle.from_bytes(answer.bundle).targets
    role, said = answer.role, order_keys_proposed(proposal)
    concerned = {role, role + NEXT}
    others = {name: keys for name, keys in said.items() if name not in concerned}
    before = {name: keys for name, keys in trusted.order_keys.items() if name not in concerned}
    if others != before or services_proposed(proposal) != services_of(current):
        raise TrustError(f"this would change more than the {role} key", code="other-proposal")
    wanted = {said[name].public_keys for name in concerned if name in said}
    if request.public_keys and request.public_keys not in wanted:
        raise TrustError("this would make other keys known", code="other-proposal")
