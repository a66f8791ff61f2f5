"""Addresses of configurations: one machine's, in digits; on loopback for what is not sealed."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.addresses import is_loopback, require_address


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.12", "127.255.255.254"])
def test_loopback_addresses_pass(address: str) -> None:
    assert is_loopback(address)
    assert require_address(address, where="address") == address


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "10.0.0.1", "128.0.0.1", "126.255.255.255", "::1", "localhost", "", "127.1", " "],
)
def test_nothing_else_is_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.7.9", "203.0.113.5", "169.254.1.1"])
def test_any_machine_may_be_named(address: str) -> None:
    assert require_address(address, where="address") == address


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "localhost", "", "10.1", " "],
)
def test_what_is_no_address_of_one_machine_is_refused_with_its_place(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        require_address(address, where="daemon.toml: address")
    assert (refused.value.code, refused.value.where) == ("bad-address", "daemon.toml: address")
