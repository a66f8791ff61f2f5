"""What the owner of an offline key checks before it signs: this rotation or renewal, and no more.

What is in force is judged by the root of releases in ``DIR/ca``, whatever the control plane says.
"""

from __future__ import annotations

import datetime as dt

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.keyring import NEXT
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.keys import RoleKeys
from p2pdeploy.trust.releases.proposals import Proposal, services_of
from p2pdeploy.trust.releases.reading import (
    order_keys_proposed,
    services_proposed,
    top_keys_in,
    top_keys_proposed,
)
from p2pdeploy.trust.releases.review import review
from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys

__all__ = ["Trusted"]


class Trusted:
    """What is in force, by the root that the owner trusts.

    Args:
        root: A root document of the owner's own.
        bundle: What the control plane says is published.

    Raises:
        TrustError: it is not.
    """

    def __init__(self, root: bytes, bundle: bytes) -> None:
        self._now = dt.datetime.now(dt.UTC)
        verified = verify_order_keys(bundle, first_seen(root), now=self._now)
        self._orders, self._top = verified.order_keys, top_keys_in(verified.seen.root)
        parts = ReleaseBundle.from_bytes(bundle)
        self._services, self._service = services_of(parts.targets), parts.service

    def require_only(self, proposal: Proposal, *, changing: str, to: tuple[bytes, ...]) -> None:
        """Return if *proposal* gives the role *changing* other keys, *to* if given, and no more.

        Without a role it may change nothing but expiry.

        Raises:
            TrustError: it says more; sign nothing.
        """
        if proposal.role == "root":
            before, after = self._top.by_role(), top_keys_proposed(proposal).by_role()
        elif proposal.role == "targets":
            before, after = self._orders, order_keys_proposed(proposal)
            if services_proposed(proposal) != self._services:
                raise _more_than(changing)
        else:
            self._require_same_releases(proposal)
            return
        concerned = {changing, changing + NEXT}
        if _without(before, concerned) != _without(after, concerned):
            raise _more_than(changing)
        if to and changing in before:
            named = {keys.public_keys for role, keys in after.items() if role in concerned}
            if to not in named:
                raise TrustError("this would make other keys known", code="other-proposal")

    def _require_same_releases(self, proposal: Proposal) -> None:
        service = proposal.role.removeprefix("svc/")
        publishers = self._services.get(service)
        if publishers is None:
            raise _more_than(service)
        current = self._service or None
        review(
            proposal,
            service=service,
            expected=None,
            current=current,
            publishers=publishers,
            now=self._now,
        )


def _without(keys: dict[str, RoleKeys], roles: set[str]) -> dict[str, RoleKeys]:
    return {role: found for role, found in keys.items() if role not in roles}


def _more_than(what: str) -> TrustError:
    return TrustError(
        f"this would change more than {what or 'expiry'}: sign nothing", code="other-proposal"
    )
