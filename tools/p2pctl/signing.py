"""A publisher's signature on a release: looked at here, signed here, with a key that stays here.

The control plane says what is to be signed.  It is believed in nothing: who may sign is judged
by the root of releases in ``DIR/ca``, and what would be signed by what was published.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from p2pctl.client import ApiClient
from p2pdeploy.errors import ConfigError, RefusedError, TrustError
from p2pdeploy.ids import Digest, ServiceName, Version
from p2pdeploy.manifest import Manifest, digest_of
from p2pdeploy.messages.signing import ProposalView, SignatureRequest
from p2pdeploy.trust.private_files import read_private
from p2pdeploy.trust.signing import SigningKey

if TYPE_CHECKING:
    from p2pdeploy.trust.releases.release_target import ReleaseTarget
    from p2pdeploy.trust.role_keys import RoleKeys

__all__ = ["ReleaseSigner", "read_key", "read_release_root"]

_ROUNDS_MAX = 5  # each is lost only to another publisher of the same service who was faster
_ROOT_BYTES_MAX = 32 * 1024


class ReleaseSigner:
    """Signs with ``DIR/operator/publisher.key``, or with another key.

    Args:
        api: The control plane of the fleet in DIR.
        key_file: The key to use; None takes the fleet folder's, if there is one.
    """

    def __init__(self, api: ApiClient, key_file: Path | None = None) -> None:
        self._api = api
        self._key_file = key_file

    def sign_published(
        self, service: ServiceName, version: Version, manifest: bytes
    ) -> ProposalView:
        """Sign the release whose manifest has these bytes; without a key it stays pending.

        Raises:
            ConfigError: the key or the root of releases is not usable.
            TrustError: what the control plane wants signed is something else, or the key that
                was named may not sign.  Nothing was signed.
            RefusedError: nobody may sign for this service (``no-publishers``).
        """
        key = self._find_key()
        if key is None:
            return self._api.propose_release(service, version)
        return self._sign(service, version, manifest, key)

    def sign_stored(
        self, service: ServiceName, version: Version, digest: Digest | None
    ) -> ProposalView:
        """Sign a release as the registry has it.

        Args:
            service: The release's.
            version: The release's.
            digest: What its manifest must have; None takes the registry's word for it.

        Raises:
            ConfigError: there is no key.
            NotFoundError: there is no such release.
            TrustError: it has another digest; and as :meth:`sign_published`.
        """
        key = self._find_key()
        if key is None:
            raise ConfigError(
                "there is no publisher's key",
                where=str(self._default_key),
                hint="name one with --key FILE",
                code="no-key",
            )
        found = self._api.release(service, version)
        if digest is not None and found.manifest_digest != digest:
            raise TrustError(
                f"the registry has {found.manifest_digest} as {service} {version}",
                hint="sign nothing before you know why",
                code="digest-differs",
            )
        manifest = self._api.manifest(found.manifest_digest)
        if digest_of(manifest) != found.manifest_digest:
            raise TrustError("the registry sent another manifest", code="digest-differs")
        return self._sign(service, version, manifest, key)

    @property
    def _default_key(self) -> Path:
        return self._api.folder / "operator" / "publisher.key"

    def _find_key(self) -> SigningKey | None:
        path = self._key_file or self._default_key
        if self._key_file is None and not path.exists():
            return None
        return read_key(path, "publisher")

    def _sign(
        self, service: ServiceName, version: Version, manifest: bytes, key: SigningKey
    ) -> ProposalView:
        from p2pdeploy.trust.releases.release_target import ReleaseTarget  # loads python-tuf

        expected = ReleaseTarget.of_manifest(
            service, version, manifest, size_bytes=Manifest.from_bytes(manifest).size_bytes
        )
        is_added = False
        for _ in range(_ROUNDS_MAX):
            view = self._api.propose_release(service, version)
            is_added = is_added or view.service_added
            if view.state == "signed":
                self._judge_named(key, service)
                request = None
            else:
                request = self._reviewed(view, expected, key)
            if request is not None:
                try:
                    view = self._api.sign_release(service, version, request)
                except RefusedError as error:
                    if error.code != "stale-proposal":
                        raise
                    continue
            return ProposalView(
                state=view.state,
                missing_signatures=view.missing_signatures,
                service_added=is_added,
            )
        raise RefusedError(
            "others publish this service faster than we can sign", code="stale-proposal"
        )

    def _reviewed(
        self, view: ProposalView, expected: ReleaseTarget, key: SigningKey
    ) -> SignatureRequest | None:
        """The signature, after a look at what it is on; None when the key was not named and may
        not sign.
        """
        from p2pdeploy.trust.releases.bundle import ReleaseBundle
        from p2pdeploy.trust.releases.proposals import Proposal, sign
        from p2pdeploy.trust.releases.review import review
        from p2pdeploy.trust.releases.verify import verify_publishers

        service, now = expected.service, dt.datetime.now(dt.UTC)
        root = read_release_root(self._api.folder)
        publishers = verify_publishers(view.bundle, root, service, now=now)
        if not self._may_sign(key, publishers, service):
            return None
        proposal = Proposal.from_bytes(view.proposal)
        review(
            proposal,
            service=service,
            expected=expected,
            current=ReleaseBundle.from_bytes(view.bundle).service or None,
            publishers=publishers,
            now=now,
        )
        key_id, signature = sign(proposal, key)
        return SignatureRequest(
            key_id=key_id, signature=signature, payload_digest=digest_of(proposal.payload)
        )

    def _judge_named(self, key: SigningKey, service: ServiceName) -> None:
        """Raise TrustError for a key that was named and may not sign, though nothing is to sign."""
        if self._key_file is None:
            return
        from p2pdeploy.trust.releases.verify import verify_publishers

        root, now = read_release_root(self._api.folder), dt.datetime.now(dt.UTC)
        publishers = verify_publishers(self._api.bundle(service), root, service, now=now)
        self._may_sign(key, publishers, service)

    def _may_sign(self, key: SigningKey, publishers: RoleKeys, service: str) -> bool:
        if key.public_key in publishers.public_keys:
            return True
        if self._key_file is None:
            return False
        raise TrustError(
            f"{key.key_id} may not sign releases of {service}",
            where=str(self._key_file),
            hint="the owner of the targets key says who may: 'p2pctl release delegate'",
            code="not-a-publisher",
        )


def read_key(path: Path, role: str) -> SigningKey:
    """The private key in *path*.

    Raises:
        ConfigError: it is missing or readable by others.
        TrustError: it is no Ed25519 private key.
    """
    return SigningKey.from_pem(read_private(path, hint="keep it to yourself: 0600"), role=role)


def read_release_root(folder: Path) -> bytes:
    """The root of releases that the owner of *folder* trusts; raises ConfigError."""
    path = folder / "ca" / "release-root.json"
    try:
        with path.open("rb") as file:
            return file.read(_ROOT_BYTES_MAX)
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}",
            where=str(path),
            hint="copy it from whoever made the fleet; it is public",
            code="no-trust",
        ) from error
