"""Who publishes a service: a targets document made and signed where the targets key is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from p2pctl.client import ApiClient
from p2pctl.signing import read_key, read_release_root
from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.ids import ServiceName, Version
from p2pdeploy.messages.signing import DelegationRequest, DelegationView
from p2pdeploy.trust.role_keys import RoleKeys

if TYPE_CHECKING:
    from p2pdeploy.trust.releases.proposals import Proposal

__all__ = ["Renewal", "delegate_service", "public_key_in"]

_HEX_DIGITS = 64
_KEY_BEGINS_BYTES_MAX = 64  # "-----BEGIN PRIVATE KEY-----"
_PUBLIC = "name OUT.pub of 'p2pctl keys generate', or its 64 hexadecimal digits"


class Renewal(msgspec.Struct, frozen=True):
    """What new publishers sign anew: *versions*, with *key_files*."""

    versions: Sequence[Version]
    key_files: Sequence[Path]


def delegate_service(
    api: ApiClient,
    service: ServiceName,
    targets_keys: Sequence[Path],
    publishers: RoleKeys,
    renewal: Renewal | None,
) -> DelegationView:
    """Make *publishers* those of *service*; by *renewal*, when nobody who signed it stays.

    What is published so far is judged by ``DIR/ca/release-root.json``, not believed.

    Raises:
        ConfigError: a key is not usable.
        TrustError: what the control plane says is published is not, or the keys may not sign.
        RefusedError: releases of the service are signed by keys that would all leave, and there
            is no *renewal* (``needs-signing``); or there is one, and no key leaves.
    """
    from p2pdeploy.trust.releases.bundle import ReleaseBundle
    from p2pdeploy.trust.releases.proposals import (
        propose_recovery,
        propose_targets,
        services_of,
    )
    from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys, verify_release

    now = dt.datetime.now(dt.UTC)
    bundle = api.bundle(service if renewal else "")
    seen = first_seen(read_release_root(api.folder))
    trusted = verify_order_keys(bundle, seen, now=now)
    current = ReleaseBundle.from_bytes(bundle).targets
    proposal = propose_targets(
        current,
        order_keys=trusted.order_keys,
        services={**services_of(current), service: publishers},
        now=now,
    )
    request = DelegationRequest(proposal=_signed(proposal, targets_keys))
    if renewal is not None:
        kept = [
            verify_release(bundle, seen, service=service, version=version, now=now).release
            for version in renewal.versions
        ]
        anew = _signed(propose_recovery(service, kept, now=now), renewal.key_files)
        request = msgspec.structs.replace(request, renewed=(anew,))
    return api.delegate(request)


def _signed(proposal: Proposal, key_files: Sequence[Path]) -> bytes:
    from p2pdeploy.trust.releases.proposals import sign

    signatures = dict(sign(proposal, read_key(path, proposal.role)) for path in key_files)
    return msgspec.structs.replace(proposal, signatures=signatures).to_bytes()


def public_key_in(text: str) -> bytes:
    """A person's public key: 64 hexadecimal digits, or a file with them or with the private key.

    Raises:
        ConfigError: it is neither; of a file of ours that others can read, too.
    """
    path = Path(text)
    if path.suffix == ".pub" and path.exists():
        text = path.read_text(errors="replace")[: _HEX_DIGITS + 2].strip()
    if len(text) == _HEX_DIGITS and not Path(text).exists():
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise ConfigError(f"{text!r} is no public key", hint="64 hexadecimal digits") from error
    _require_key_file(path)
    try:
        return read_key(path, "publisher").public_key
    except TrustError as error:
        raise ConfigError(error.message, where=text) from error


def _require_key_file(path: Path) -> None:
    """Refuse what holds no key before anybody is told to change its mode: it may be any file."""
    try:
        with path.open("rb") as file:
            begins = file.read(_KEY_BEGINS_BYTES_MAX)
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=str(path), hint=_PUBLIC
        ) from error
    if b"PRIVATE KEY-----" not in begins:
        raise ConfigError("this is no public key", where=str(path), hint=_PUBLIC)
