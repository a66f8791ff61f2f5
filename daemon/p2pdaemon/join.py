"""``p2pdaemon join TOKEN``: become a host of the fleet that the token is of.

A short program of its own: X.509 costs memory that the running daemon does without.
"""

from __future__ import annotations

from p2pdaemon.config import DaemonConfig
from p2pdaemon.enrolment_client import find_authority, open_enrolment
from p2pdaemon.find_on_lan import find_on_lan
from p2pdaemon.judge_bundle import SEEN_FILE, alone_with, judge_orders
from p2pdaemon.state_lock import only_daemon
from p2pdeploy.errors import (
    ConfigError,
    P2PDeployError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import EnrolRequest, IssuedIdentity
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.host_identity import load_identity, save_identity
from p2pdeploy.trust.host_keys import LeafKeys, new_attestation_key, new_leaf_keys
from p2pdeploy.trust.join_token import JoinToken, read_join_token
from p2pdeploy.trust.keyring import FleetVerifier, OrderKeys
from p2pdeploy.trust.private_files import make_private_folder, write_private
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.signing import SigningKey

__all__ = ["already_joined", "join", "keep_joined", "require_ours"]

# Whoever answered is a stranger, and was told nothing: the next one may be ours.
_NOT_OURS = ("wrong-authority", "not-control-plane")


async def join(config: DaemonConfig, text: str, *, again: bool = False) -> str:
    """Join with the token *text*; returns what to tell the user.

    Nothing is written before everything is there.  A host that has joined already is left as it
    is, and the token is not used up, unless *again*.

    Raises:
        TrustError: the token is malformed, refused, whoever answers has another fleet CA, or
            its release metadata is not signed as it must be.
        RefusedError: the token is for another host than this one, or its daemon runs
            (``daemon-runs``): it would go on under the old identity, which nobody believes then.
        UnavailableError: no answer; get a new token if this one was used up.
        OSError: the identity can't be written.
    """
    token = read_join_token(text)
    if token.host != config.name:
        raise RefusedError(
            f"the token is for host {token.host!r}, this is {config.name!r}",
            hint="names come from the inventory: correct 'name' in daemon.toml, or use its token",
            code="other-host",
        )
    said = None if again else already_joined(config)
    if said is not None:
        return said
    key, keys = new_attestation_key(config.name), new_leaf_keys()
    request = EnrolRequest(
        host=config.name,
        secret=token.secret,
        public_key=key.public_key,
        requests=keys.requests,
    )
    with only_daemon(config.state_dir):
        issued, authority_pem = await _enrol(token, request, config.address)
        return keep_joined(config, key, keys, issued, authority_pem)


def keep_joined(
    config: DaemonConfig,
    key: SigningKey,
    keys: LeafKeys,
    issued: IssuedIdentity,
    authority_pem: bytes,
) -> str:
    """Write what was issued for *key* and *keys*; returns what to tell the user.

    Raises:
        TrustError: it is for somebody else, or its release metadata is not signed as it must be;
            nothing was written.
        OSError: it can't be written.
    """
    # Who joins anew trusts the root that comes with it, and what was seen under another is void.
    first = Seen(root=issued.bundle.release_root)
    known, seen = judge_orders(issued.releases, first, issued.bundle.fleet)
    credential = require_ours(
        issued, known.orders, authority_pem, host=config.name, public_key=key.public_key
    )
    seen_path = make_private_folder(config.state_dir) / SEEN_FILE
    with alone_with(seen_path):
        write_private(seen_path, seen.to_bytes())
        save_identity(config.identity_dir, key, keys.fleet_pem, keys.swarm_pem, issued, known)
    return f"{config.name} is a host of {credential.fleet} now, enrolment {credential.enrolment}"


def already_joined(config: DaemonConfig) -> str | None:
    """What to tell a user whose host has joined already; None when it has not.

    Raises:
        ConfigError: there is an identity, and it is not usable.
    """
    if not (config.identity_dir / "leaf.pem").exists():  # of the files it needs, written last
        return None
    try:
        fleet = load_identity(config.identity_dir, config.name).bundle.fleet
    except ConfigError as error:
        raise ConfigError(
            f"there is an identity already, and it is not usable: {error.message}",
            where=error.where,
            hint="--again joins anew",
            code=error.code,
        ) from error
    return f"{config.name} is a host of {fleet} already; --again joins anew"


async def _enrol(
    token: JoinToken, request: EnrolRequest, address: str
) -> tuple[IssuedIdentity, bytes]:
    """Enrol where the token says, or with whoever on the LAN proves to be the right one.

    Returns:
        What was issued, and the fleet CA in PEM.
    """
    addresses = (token.api,) if token.api else await find_on_lan(address)
    strange: P2PDeployError | None = None
    for api in addresses:
        try:
            authority_pem = await find_authority(api, token.fingerprint.hex(), address=address)
            async with open_enrolment(api, authority_pem, address=address) as client:
                return await client.enrol(request), authority_pem
        except (TrustError, UnavailableError) as error:
            if error.code not in _NOT_OURS and not isinstance(error, UnavailableError):
                raise
            strange = error
    assert strange is not None, "there was an address at least"
    raise strange


def require_ours(
    issued: IssuedIdentity,
    orders: OrderKeys,
    authority_pem: bytes,
    *,
    host: HostName,
    public_key: bytes,
) -> Credential:
    """The credential of *issued*, which must be *host*'s and for the key *public_key*.

    *orders*: who signs credentials; judged before.

    Raises:
        TrustError: it is for somebody else, or the bundle is of another fleet CA: keep nothing.
        ProtocolError: malformed.
    """
    if fingerprint(issued.bundle.fleet_ca_pem) != fingerprint(authority_pem):
        raise TrustError("the bundle is of another fleet CA", code="wrong-authority")
    credential = open_envelope(issued.credential, FleetVerifier(orders))
    if not isinstance(credential, Credential):
        raise TrustError("what came is no credential", code="bad-credential")
    said = (credential.fleet, credential.host, credential.public_key)
    if said != (issued.bundle.fleet, host, public_key):
        raise TrustError(f"the credential is of {credential.host!r}", code="bad-credential")
    return credential
