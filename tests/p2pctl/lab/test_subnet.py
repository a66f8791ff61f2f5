from __future__ import annotations

import socket
from pathlib import Path

import pytest

from p2pctl.lab.subnet import claim_recorded, claim_subnet, guard_address
from p2pdeploy.errors import RefusedError

FOLDER = Path("/fleets/one")


def test_two_fleets_never_get_one_subnet() -> None:
    first, guard = claim_subnet(FOLDER, [(1, 7400)])
    with guard:
        second, other = claim_subnet(FOLDER, [(1, 7400)])
        other.close()
    assert first != second


def test_a_fleet_made_again_gets_the_addresses_it_had() -> None:
    first, guard = claim_subnet(FOLDER, [])
    guard.close()
    again, guard = claim_subnet(FOLDER, [])
    guard.close()
    assert again == first


def test_a_subnet_where_somebody_listens_is_passed_over() -> None:
    first, guard = claim_subnet(FOLDER, [(1, 7400)])
    guard.close()
    with socket.create_server((f"{first}.1", 7400)):
        second, guard = claim_subnet(FOLDER, [(1, 7400)])
        guard.close()
        assert second != first
        with pytest.raises(RefusedError) as caught:
            claim_recorded(first, [(1, 7400)], FOLDER)
    assert caught.value.code == "addresses-taken"
    assert f"{first}.1:7400" in caught.value.message
    claim_recorded(first, [(1, 7400)], FOLDER).close()


def test_the_guard_is_free_again_when_it_is_closed() -> None:
    prefix, guard = claim_subnet(FOLDER, [])
    assert guard.getsockname() == guard_address(prefix)
    guard.close()
    claim_recorded(prefix, [], FOLDER).close()
