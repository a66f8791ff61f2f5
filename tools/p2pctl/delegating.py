"""Who publishes a service: a targets document made and signed where the targets key is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from p2pctl.client import ApiClient
from p2pctl.signing import read_key, read_release_root
from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.signing import DelegationView

__all__ = ["delegate_service", "public_key_in"]

_HEX_DIGITS = 64


def delegate_service(
    api: ApiClient,
    service: ServiceName,
    targets_keys: Sequence[Path],
    publishers: Sequence[bytes],
    threshold: int,
) -> DelegationView:
    """Make *publishers* those of *service*, *threshold* of them for each release.

    What is published so far is judged by ``DIR/ca/release-root.json``, not believed.

    Raises:
        ConfigError: a key is not usable, or the threshold can't be met.
        TrustError: what the control plane says is published is not, or the keys may not sign.
        RefusedError: releases of the service are signed by keys that would leave
            (``needs-signing``).
    """
    from p2pdeploy.trust.releases.bundle import ReleaseBundle
    from p2pdeploy.trust.releases.files import proposal_in, sign_file
    from p2pdeploy.trust.releases.proposals import propose_targets, services_of
    from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys
    from p2pdeploy.trust.role_keys import RoleKeys

    now = dt.datetime.now(dt.UTC)
    bundle = api.bundle()
    trusted = verify_order_keys(bundle, first_seen(read_release_root(api.folder)), now=now)
    current = ReleaseBundle.from_bytes(bundle).targets
    wanted = RoleKeys(threshold=threshold, public_keys=tuple(publishers))
    proposal = propose_targets(
        current,
        order_keys=trusted.order_keys,
        services={**services_of(current), service: wanted},
        now=now,
    )
    keys = [read_key(path, "targets") for path in targets_keys]
    return api.delegate(proposal_in(sign_file(proposal, *keys), "targets").to_bytes())


def public_key_in(text: str) -> bytes:
    """A person's public key: 64 hexadecimal digits, or a file with them or with the private key.

    Raises:
        ConfigError: it is neither.
    """
    path = Path(text)
    if path.suffix == ".pub" and path.exists():
        text = path.read_text(errors="replace")[: _HEX_DIGITS + 2].strip()
    if len(text) == _HEX_DIGITS and not Path(text).exists():
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise ConfigError(f"{text!r} is no public key", hint="64 hexadecimal digits") from error
    try:
        return read_key(Path(text), "publisher").public_key
    except TrustError as error:
        raise ConfigError(error.message, where=text) from error
