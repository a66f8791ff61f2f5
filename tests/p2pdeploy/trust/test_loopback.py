"""Without certificates nothing leaves 127.0.0.0/8."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.loopback import require_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.12", "127.255.255.254"])
def test_loopback_addresses_pass(address: str) -> None:
    assert require_loopback(address, where="address") == address


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.0.0.1", "128.0.0.1", "126.255.255.255", "::1", "localhost", "", "127.1", " "],
)
def test_everything_else_is_refused_with_the_place_it_came_from(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        require_loopback(address, where="daemon.toml: address")
    assert refused.value.code == "not-loopback"
    assert refused.value.where == "daemon.toml: address"
