"""Rate limits travel as an item of the cell, and only the deployer key may say them."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ProtocolError, TrustError
from p2pdeploy.gossip.anti_entropy import open_item
from p2pdeploy.gossip.state import RATE_LIMITS_KEY, CellState
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.limits import CELL_HOSTS_MAX, ENVELOPE_BYTES_MAX
from p2pdeploy.messages.rates import (
    RATE_BYTES_PER_S_MAX,
    RATE_BYTES_PER_S_MIN,
    UNLIMITED,
    RateLimit,
    RateLimits,
)
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.keyring import FleetVerifier, OrderKeys
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey

CELL, MB = CellId("lab.web.c0"), 1_000_000
KEYS = {role: SigningKey.generate(role=role) for role in ("deployer", "go", "enrol")}
VERIFIER = FleetVerifier(
    OrderKeys(
        "lab",
        {role: RoleKeys(threshold=1, public_keys=(key.public_key,)) for role, key in KEYS.items()},
    )
)


def said(seq: int, **limits: object) -> RateLimits:
    return RateLimits(cell=CELL, limits_seq=seq, **limits)  # type: ignore[arg-type]


def verify(envelope: bytes):
    return open_envelope(envelope, VERIFIER)


def test_the_newest_limits_are_kept():
    state = CellState(CELL)
    for seq in (2, 3, 1):
        item, _ = open_item(seal(said(seq), KEYS["deployer"]), CELL, verify)
        state.merge(item)
    held = state.get(RATE_LIMITS_KEY)
    assert held is not None
    assert verify(held.envelope) == said(3)


@pytest.mark.parametrize("role", ["go", "enrol"])
def test_rate_limits_by_another_key_are_refused(role: str):
    with pytest.raises(TrustError):
        verify(seal(said(1), KEYS[role]))


def test_limits_of_another_cell_are_refused():
    envelope = seal(said(1), KEYS["deployer"])
    with pytest.raises(TrustError):
        open_item(envelope, CellId("lab.web.c1"), verify)


@pytest.mark.parametrize("rate", [0, -1, RATE_BYTES_PER_S_MIN - 1, RATE_BYTES_PER_S_MAX + 1])
def test_a_rate_that_never_finishes_is_no_rate(rate: int):
    data = encode(said(1, each_host=RateLimit(download_bytes_per_s=rate)))
    with pytest.raises(ProtocolError):
        decode(data, RateLimits, bytes_max=ENVELOPE_BYTES_MAX)


def test_a_limit_for_each_host_of_a_full_cell_fits_an_envelope():
    rate = RateLimit(
        download_bytes_per_s=RATE_BYTES_PER_S_MAX, upload_bytes_per_s=RATE_BYTES_PER_S_MAX
    )
    hosts = {HostName(f"{number:04}".ljust(63, "x")): rate for number in range(CELL_HOSTS_MAX)}
    envelope = seal(said(1, hosts=hosts), KEYS["deployer"])
    assert len(envelope) <= ENVELOPE_BYTES_MAX
    assert verify(envelope) == said(1, hosts=hosts)


def test_a_hosts_own_limit_goes_before_the_one_of_each():
    own = RateLimit(download_bytes_per_s=2 * MB)
    told = said(1, each_host=RateLimit(download_bytes_per_s=MB), hosts={HostName("h1"): own})
    assert told.of_host(HostName("h1")) == own
    assert told.of_host(HostName("h2")) == told.each_host
    assert msgspec.structs.replace(told, each_host=UNLIMITED).of_host(HostName("h2")) == UNLIMITED
