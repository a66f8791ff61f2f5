"""An approver's signature on a rollout: read here, signed here, with a key that stays here.

The control plane says what is to be signed and is believed in nothing else: what is shown is read
out of the very bytes that the signature covers.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence

from p2pctl.client import ApiClient
from p2pctl.signing import read_release_root
from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError, ProtocolError, TrustError
from p2pdeploy.ids import check_digest, check_label, check_service, check_version
from p2pdeploy.limits import CELL_HOSTS_MAX, CLOCK_ERROR_S, ENVELOPE_BYTES_MAX, LEASE_S
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal
from p2pdeploy.messages.orders import Build, Rollout
from p2pdeploy.trust.envelope import Sealer, open_envelope, signed_part
from p2pdeploy.trust.keyring import FleetVerifier, OrderKeys

__all__ = ["check_release", "check_standing", "read_proposal", "sign_proposal"]

_LIFETIME_MAX_S = 24 * 3600.0  # an approval that is good for longer is nobody's decision any more
_REFUSAL_CHARS_MAX = 200  # it may quote what was sent
# A rollout each millisecond for nine thousand years: an approval under the last number that there
# is would be the last one that hosts ever believe.
_ROLLOUT_SEQ_MAX = 2**48
_CLOCK_BEHIND_S = 300.0  # ours may be that far behind the control plane's
_ROLLOUT_ID = re.compile(r"(?P<service>[a-z0-9._-]{1,63})-[0-9]{1,9}")


def read_proposal(
    proposal: RolloutProposal, rollout_id: str, now: dt.datetime
) -> tuple[Rollout, ...]:
    """What would be signed, one ROLLOUT for each cell.

    Args:
        proposal: From the control plane.
        rollout_id: What the approver asked for.
        now: Aware UTC time.

    Raises:
        TrustError: it is not what was asked for, it contradicts itself, or it does not read the
            same everywhere.  Sign nothing, and find out why.
    """
    try:
        rollouts = tuple(_read(payload) for payload in proposal.payloads)
        for rollout in rollouts:
            _check_names(rollout)
    except P2PDeployError as error:
        raise _odd(error.message[:_REFUSAL_CHARS_MAX]) from error
    if not rollouts or any(rollout.rollout_id != rollout_id for rollout in rollouts):
        raise _odd(f"what would be signed is not rollout {rollout_id}")
    if len({rollout.cell for rollout in rollouts}) != len(rollouts):
        raise _odd("one cell would be signed for twice")
    if any(_common(rollout) != _common(rollouts[0]) for rollout in rollouts):
        raise _odd("its cells would get different things")
    for rollout in rollouts:
        _check_limits(rollout)
        _check_expiry(rollout, now.timestamp(), stands=bool(proposal.standing))
    return rollouts


def check_release(
    api: ApiClient, rollout: Rollout, now: dt.datetime, *, stands: bool = False
) -> bool:
    """Whether the publishers of the service signed the very build that *rollout* brings.

    Returns:
        True; False when ``DIR/ca`` has no root of releases to judge that by, or when it *stands*
        and its version is not live any more.

    Raises:
        TrustError: they signed another one under that version, or none.
    """
    from p2pdeploy.trust.releases.refusals import Attack
    from p2pdeploy.trust.releases.verify import first_seen, verify_release  # loads python-tuf

    if not (api.folder / "ca" / "release-root.json").exists():
        return False
    service, build = rollout.service, rollout.build
    try:
        found = verify_release(
            api.bundle(service),
            first_seen(read_release_root(api.folder)),
            service=service,
            version=build.version,
            now=now,
        )
    except TrustError as error:
        if stands and error.code == Attack.UNKNOWN_RELEASE:
            return False
        raise
    if found.release.manifest_digest != build.digest:
        raise TrustError(
            f"the publishers signed {found.release.manifest_digest} as {service} {build.version}, "
            f"and the rollout would bring {build.digest}",
            hint="sign nothing before you know why",
            code="digest-differs",
        )
    return True


def check_standing(api: ApiClient, proposal: RolloutProposal, now: dt.datetime) -> bool:
    """Whether what is said to stand was approved by keys that hosts believe today.

    Returns:
        True; False when ``DIR/ca`` has no root of releases to judge that by.

    Raises:
        TrustError: it was not, or what stands is something else.  Sign nothing.
    """
    from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys  # loads python-tuf

    if not (api.folder / "ca" / "release-root.json").exists():
        return False
    seen = first_seen(read_release_root(api.folder))
    said = verify_order_keys(api.bundle(), seen, now=now).order_keys
    judge = FleetVerifier(OrderKeys("", said))  # a ROLLOUT names no fleet
    try:
        stands = [encode(open_envelope(each, judge)) for each in proposal.standing]
    except P2PDeployError as error:
        raise _odd(f"it does not stand: {error.message[:_REFUSAL_CHARS_MAX]}") from error
    if stands != proposal.payloads:
        raise _odd("what stands is not what would be signed")
    return True


def sign_proposal(payloads: Sequence[bytes], key: Sealer) -> ApprovalRequest:
    """Sign what :func:`read_proposal` read."""
    signatures = [key.sign(signed_part(Rollout, payload)) for payload in payloads]
    return ApprovalRequest(key_id=key.key_id, signatures=signatures)


def _read(payload: bytes) -> Rollout:
    rollout = decode(payload, Rollout, bytes_max=ENVELOPE_BYTES_MAX)
    if encode(rollout) != payload:  # else two readers might see two things in it
        raise ProtocolError("what would be signed is not written as we write it")
    return rollout


def _check_names(rollout: Rollout) -> None:
    """Raise RefusedError unless every text is a name: nothing else may reach a terminal."""
    check_service(rollout.service)
    _check_build(rollout.build)
    if rollout.baseline is not None:
        _check_build(rollout.baseline)
    labels = rollout.cell.split(".")
    target = rollout.target
    hosts = (*target.hosts, *rollout.bare, *rollout.settled_hosts)
    for label in (*labels, *hosts, *filter(None, (target.environment, target.machine_function))):
        check_label(label, "name")
    named = _ROLLOUT_ID.fullmatch(rollout.rollout_id)
    if named is None or named["service"] != rollout.service or len(labels) != 3:
        raise ProtocolError("rollout, service and cell do not belong together")
    by_label = (target.environment, target.machine_function)
    if bool(target.hosts) == any(by_label) or (any(by_label) and by_label != (*labels[:2],)):
        raise ProtocolError(f"the target is not clear in {rollout.cell}")


def _check_build(build: Build) -> None:
    check_version(build.version)
    check_digest(build.digest)


def _check_limits(rollout: Rollout) -> None:
    durations = (rollout.bake_s, rollout.settle_s, rollout.activation_max_s)
    if not all(math.isfinite(s) and s >= 0 for s in durations):
        raise _odd("a duration is none")
    if not (0 <= rollout.failure_fraction_max < 1 and rollout.max_unavailable >= 1):
        raise _odd("a limit is none")
    if not 1 <= rollout.rollout_seq <= _ROLLOUT_SEQ_MAX:
        raise _odd("its number is none that another could follow")
    if rollout.max_unavailable > CELL_HOSTS_MAX:
        raise _odd(f"more hosts than a cell has may lack in {rollout.cell}")
    if (rollout.lease_s, rollout.clock_error_s) != (LEASE_S, CLOCK_ERROR_S):
        raise _odd("the lease is not this fleet's")


def _check_expiry(rollout: Rollout, now: float, *, stands: bool) -> None:
    """What stands may have expired: then no plan can start by it any more, whoever signs."""
    has_expired = not now < rollout.expires_at
    if not math.isfinite(rollout.expires_at) or (has_expired and not stands):
        raise _odd("the approval has expired")
    if rollout.expires_at > now + _LIFETIME_MAX_S + _CLOCK_BEHIND_S:
        raise _odd("the approval would hold for more than a day")


def _common(rollout: Rollout) -> tuple[object, ...]:
    """What all cells of a rollout have in common, and is shown once."""
    return (
        rollout.service,
        rollout.build,
        rollout.failure_fraction_max,
        rollout.bake_s,
        rollout.settle_s,
        rollout.activation_max_s,
        rollout.expires_at,
    )


def _odd(message: str) -> TrustError:
    return TrustError(message, hint="sign nothing before you know why", code="odd-proposal")
