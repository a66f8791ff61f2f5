"""What the owner of an offline key checks before it signs: this rotation or renewal, and no more.

What is in force is judged by the root of releases in ``DIR/ca``, whatever the control plane says.
"""

from __future__ import annotations

import datetime as dt

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.keyring import NEXT
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.proposals import Proposal, services_of
from p2pdeploy.trust.releases.reading import (
    order_keys_proposed,
    services_proposed,
    top_keys_in,
    top_keys_proposed,
)
from p2pdeploy.trust.releases.review import review
from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys
from p2pdeploy.trust.role_keys import RoleKeys

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

    def require_only(
        self, proposal: Proposal, *, changing: str, to: RoleKeys | None = None, finish: bool = False
    ) -> None:
        """Return if *proposal* makes the asked-for step for the role *changing*, and no other.

        Args:
            proposal: What the control plane wants signed.
            changing: The role; without one nothing may change but expiry.
            to: Who takes over; None: a key of the control plane's own choice.
            finish: Those who were announced stay, and nobody else.

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
        concerned = {changing, changing + NEXT} if changing in before else set[str]()
        if _without(before, concerned) != _without(after, concerned):
            raise _more_than(changing)
        if not concerned:
            return
        if finish:
            fits = _is_finished(before, after, changing)
        elif to is None:
            fits = True  # whom the control plane names is its own business
        elif proposal.role == "root":
            fits = after.get(changing) == to
        else:  # until that is finished, those of before still count
            fits = after == {**before, changing + NEXT: to}
        if not fits:
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


def _is_finished(before: dict[str, RoleKeys], after: dict[str, RoleKeys], role: str) -> bool:
    """Whether *role* is left to those who were announced: as its ``-next``, or beside the old."""
    if role + NEXT in after or role not in after:
        return False
    if role + NEXT in before:
        return after[role] == before[role + NEXT]
    old, new = before[role], after[role]
    return new.threshold == old.threshold and set(new.public_keys) <= set(old.public_keys)


def _without(keys: dict[str, RoleKeys], roles: set[str]) -> dict[str, RoleKeys]:
    return {role: found for role, found in keys.items() if role not in roles}


def _more_than(what: str) -> TrustError:
    return TrustError(
        f"this would change more than {what or 'expiry'}: sign nothing", code="other-proposal"
    )
