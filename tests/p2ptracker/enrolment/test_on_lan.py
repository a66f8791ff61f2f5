"""A token without an address: the control plane is found, and strangers who announce are not."""

from __future__ import annotations

import msgspec
import pytest
import trio

from p2pdaemon import find_on_lan as looking
from p2pdaemon.join import join
from p2pdeploy.errors import TrustError, UnavailableError
from p2pdeploy.ids import HostName
from p2pdeploy.trust.join_token import read_join_token, show_join_token
from p2ptracker.enrolment.announce_on_lan import announce_on_lan

H1 = HostName("h01")


async def without_address(tracker, token_for) -> str:
    token = read_join_token(await token_for(tracker, H1))
    return show_join_token(msgspec.structs.replace(token, api=""))


@pytest.fixture
def multicast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LOOK_S", 6.0)


@pytest.mark.processes
@pytest.mark.usefixtures("multicast")
async def test_the_control_plane_is_found_on_the_network(tracker, config_of, token_for) -> None:
    config = config_of(tracker.plane.inventory.get(H1))
    text = await without_address(tracker, token_for)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announce_on_lan, "lab", "127.0.0.1", tracker.ports.api)
        assert "is a host of lab now" in await join(config, text)
        nursery.cancel_scope.cancel()


async def test_whoever_announces_without_being_ours_is_passed_over(
    tracker, config_of, token_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is there, then ours."""
    config = config_of(tracker.plane.inventory.get(H1))
    text = await without_address(tracker, token_for)
    ours = f"https://127.0.0.1:{tracker.ports.api}"

    async def announced(*_: object) -> tuple[str, ...]:
        return ("https://127.0.0.1:1", ours)

    monkeypatch.setattr("p2pdaemon.join.find_on_lan", announced)
    assert "is a host of lab now" in await join(config, text)


async def test_only_strangers_on_the_network_is_an_error(
    tracker, config_of, token_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tracker.plane.inventory.get(H1))
    token = read_join_token(await token_for(tracker, H1))
    text = show_join_token(msgspec.structs.replace(token, api="", fingerprint=bytes(32)))
    ours = f"https://127.0.0.1:{tracker.ports.api}"

    async def announced(*_: object) -> tuple[str, ...]:
        return (ours,)

    monkeypatch.setattr("p2pdaemon.join.find_on_lan", announced)
    with pytest.raises(TrustError) as refused:
        await join(config, text)
    assert refused.value.code == "wrong-authority"


async def test_nobody_on_the_network_is_said(config_of, tracker, monkeypatch) -> None:
    monkeypatch.setattr(looking, "LOOK_S", 0.2)
    with pytest.raises(UnavailableError, match="no control plane is announced"):
        await looking.find_on_lan("127.88.1.77")
