"""``p2pdaemon renew``: fresh certificates for a host that has joined.

The running daemon starts it as a short process of its own, because X.509 costs memory that a
daemon does without.  It needs no certificate that still holds: the attestation key says who asks.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from p2pdaemon.config import DaemonConfig
from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.ids import HostName

__all__ = ["RenewalOrder", "order_of", "renew"]


class RenewalOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Who renews, and where; ``address`` is what our socket binds."""

    name: HostName
    address: str
    api: str
    identity_dir: str
    state_dir: str


def order_of(config: DaemonConfig) -> RenewalOrder:
    """What the host of *config* renews by."""
    return RenewalOrder(
        name=config.name,
        address=config.address,
        api=config.api,
        identity_dir=str(config.identity_dir),
        state_dir=str(config.state_dir),
    )


async def renew(order: RenewalOrder) -> float:
    """Replace the certificates; returns when they expire, in seconds since the epoch.

    Raises:
        ConfigError: the host has not joined.
        TrustError: it is revoked, was enrolled anew elsewhere, its clock is wrong, or the
            release metadata that came is refused.
        UnavailableError: no answer; try again later.
        OSError: the folder can't be written; what was there still works.
    """
    from p2pdaemon.enrolment_client import open_enrolment
    from p2pdaemon.join import require_ours
    from p2pdaemon.judge_bundle import SEEN_FILE, alone_with, judge_orders, load_seen
    from p2pdeploy.trust.host_identity import load_identity, save_identity
    from p2pdeploy.trust.host_keys import new_leaf_keys, renewal
    from p2pdeploy.trust.private_files import write_private

    folder = Path(order.identity_dir)
    identity = load_identity(folder, order.name)
    keys, authority_pem = new_leaf_keys(), identity.bundle.fleet_ca_pem
    async with open_enrolment(order.api, authority_pem, address=order.address) as client:
        issued = await client.renew(renewal(identity.key, keys, now=time.time()))
    # Only its own keys replace a root of releases (TUF 5.3): who takes the control plane over
    # hands out certificates, and decides about no release.
    root = identity.bundle.release_root
    bundle = msgspec.structs.replace(issued.bundle, release_root=root)
    issued = msgspec.structs.replace(issued, bundle=bundle)
    seen_path = Path(order.state_dir) / SEEN_FILE
    with alone_with(seen_path):
        before = load_seen(seen_path, root)
        known, seen = judge_orders(issued.releases, before, identity.bundle.fleet)
        require_ours(
            issued,
            known.orders,
            authority_pem,
            host=order.name,
            public_key=identity.key.public_key,
        )
        write_private(seen_path, seen.to_bytes())
        save_identity(folder, identity.key, keys.fleet_pem, keys.swarm_pem, issued, known)
    return issued.expires_at


def main() -> None:
    """Run as ``python -m p2pdaemon.renew ORDER``; an error is one line of JSON on stderr."""
    import trio

    os.umask(0o077)
    try:
        order = msgspec.json.decode(sys.argv[1] if len(sys.argv) == 2 else "", type=RenewalOrder)
        trio.run(renew, order)
    except msgspec.MsgspecError as error:
        _fail(ConfigError(f"no order to renew: {error}"))
    except P2PDeployError as error:
        _fail(error)
    except OSError as error:
        _fail(ConfigError(f"cannot be written: {error.strerror}", where=str(error.filename or "")))


def _fail(error: P2PDeployError) -> None:
    sys.stderr.write(msgspec.json.encode({"code": error.code, "reason": str(error)}).decode())
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
