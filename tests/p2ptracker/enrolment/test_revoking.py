"""A host that is revoked, or was enrolled anew: who believes what from then on."""

from __future__ import annotations

import msgspec
import pytest

from p2pdaemon.join import join
from p2pdeploy.codec import decode
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import CellId, HostName
from p2pdeploy.messages.enrolment import CELL_TRUST_BYTES_MAX, CellTrust
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus
from p2pdeploy.trust.envelope import open_envelope
from p2pdeploy.trust.revocations import Revocations
from p2ptracker.storage.enrolment import Enrolment, Refusals
from tests.p2ptracker.enrolment.joined import join_as, renew_as
from tests.p2ptracker.tracker_bench import code_of

CELL = CellId("lab.web.c0")
H1, H2 = HostName("h01"), HostName("h02")


async def revoke(tracker, **what: str) -> None:
    answer = await tracker.http.post("/v1/enrolment/revocations", json=what)
    assert answer.status_code == 200, answer.text


def revocations_in(tracker, envelope: bytes) -> Revocations:
    found = open_envelope(envelope, tracker.plane.verifier)
    assert isinstance(found, Revocations)
    return found


async def test_a_revoked_host_is_refused_by_the_api_at_once(tracker, config_of, token_for) -> None:
    async with join_as(tracker, config_of, token_for, H1) as host:
        assert (await host.http.get("/v1/time")).status_code == 200
        await revoke(tracker, host=H1, reason="stolen")
        answer = await host.http.get("/v1/time")  # the same connection
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "revoked"


async def test_a_revoked_host_cannot_renew(tracker, config_of, token_for) -> None:
    async with join_as(tracker, config_of, token_for, H1) as host:
        await renew_as(tracker, host)
        await revoke(tracker, host=H1)
        with pytest.raises(TrustError) as refused:
            await renew_as(tracker, host)
    assert refused.value.code == "revoked"


async def test_a_token_from_before_the_revocation_lets_nobody_in(
    tracker, config_of, token_for
) -> None:
    token = await token_for(tracker, H1)
    await revoke(tracker, host=H1, reason="stolen")
    with pytest.raises(TrustError) as refused:
        await join(config_of(tracker.plane.inventory.get(H1)), token)
    assert refused.value.code == "token-unknown"
    await join(config_of(tracker.plane.inventory.get(H1)), await token_for(tracker, H1))


async def test_a_revoked_host_is_not_given_the_cells_keys(tracker, config_of, token_for) -> None:
    async with join_as(tracker, config_of, token_for, H1) as host:
        assert (await host.http.get(f"/v1/cells/{CELL}/trust")).status_code == 200
        await revoke(tracker, host=H1)
        assert (await host.http.get(f"/v1/cells/{CELL}/trust")).status_code == 401


async def test_the_cell_hears_of_it(tracker, config_of, token_for) -> None:
    async with join_as(tracker, config_of, token_for, H2) as other:
        await revoke(tracker, host=H1, reason="stolen")
        answer = await other.http.get(f"/v1/cells/{CELL}/trust")
    trust = decode(answer.content, CellTrust, bytes_max=CELL_TRUST_BYTES_MAX)
    said = revocations_in(tracker, trust.revocations)
    host = tracker.plane.inventory.get(H1)
    assert said.refused == {H1: host.address}
    assert said.floors == {H1: 2, H2: 2}
    item = tracker.plane.cells.get(CELL).state.get("revocations")
    assert item is not None
    assert revocations_in(tracker, item.envelope).refused == {H1: host.address}


async def test_a_revocation_survives_a_restart(fleet_dir, started) -> None:
    async with started(fleet_dir) as before:
        await revoke(before, host=H1)
    async with started(fleet_dir) as after:
        assert not after.plane.standing.is_believed(H1, 1)
        assert after.plane.standing.is_believed(H2, 1)


async def test_a_reimaged_host_supersedes_its_old_identity(tracker, config_of, token_for) -> None:
    """Whoever kept the old disk has a certificate that is not expired, and a credential."""
    async with (
        join_as(tracker, config_of, token_for, H1) as old,
        join_as(tracker, config_of, token_for, H1, again=True) as new,
    ):
        assert (await new.http.get("/v1/time")).status_code == 200
        refused = await old.http.get("/v1/time")
        assert refused.json()["error"]["code"] == "revoked"
        with pytest.raises(TrustError):
            await renew_as(tracker, old)
        assert (await renew_as(tracker, new)).credential == new.identity.key.credential


async def test_a_revoked_host_that_is_enrolled_anew_is_believed(
    tracker, config_of, token_for
) -> None:
    async with join_as(tracker, config_of, token_for, H1):
        await revoke(tracker, host=H1)
    async with join_as(tracker, config_of, token_for, H1, again=True) as host:
        assert (await host.http.get("/v1/time")).status_code == 200
    (row, *_) = (await status(tracker)).hosts
    assert (row.host, row.state, row.enrolment) == (H1, "enrolled", 3)


async def status(tracker) -> EnrolmentStatus:
    answer = await tracker.http.get("/v1/enrolment")
    return msgspec.json.decode(answer.content, type=EnrolmentStatus)


async def test_the_status_shows_every_host_and_the_alarms(tracker, config_of, token_for) -> None:
    async with join_as(tracker, config_of, token_for, H1):
        pass
    await revoke(tracker, host=H2, reason="lost")
    await token_for(tracker, "h03")
    states = {row.host: row.state for row in (await status(tracker)).hosts}
    assert states == {"h01": "enrolled", "h02": "revoked", "h03": "token", "h04": "none"}


async def test_an_unknown_host_cannot_be_revoked(tracker) -> None:
    answer = await tracker.http.post("/v1/enrolment/revocations", json={"host": "nobody"})
    assert code_of(answer) == (404, "no-host")
    assert "--env" not in answer.text, "whoever revokes it is not about to make it"
    answer = await tracker.http.post(
        "/v1/enrolment/tokens", json={"hosts": ["nobody"], "ttl_s": 60.0}
    )
    assert code_of(answer) == (404, "no-host")
    assert "--env" in answer.text


async def test_a_host_of_another_cell_is_not_told_this_cells_secrets(
    tracker, config_of, token_for
) -> None:
    other = msgspec.structs.replace(
        tracker.plane.inventory.get(H1),
        name=HostName("n01"),
        address="127.88.9.9",
        cell=CellId("lab.web.c1"),
    )
    await tracker.plane.enrolment.add_hosts([other])
    async with join_as(tracker, config_of, token_for, other.name) as host:
        assert (await host.http.get("/v1/cells/lab.web.c1/trust")).status_code == 200
        assert (await host.http.get(f"/v1/cells/{CELL}/trust")).status_code == 403


def test_floors_never_fall(tracker_standing) -> None:
    standing = tracker_standing
    standing.put(Enrolment(host=H1, enrolment=3, floor=4))
    seq = standing.seq
    standing.put(Enrolment(host=H1, enrolment=2, floor=2))
    assert standing.floors[H1] == 4
    assert standing.seq == seq


@pytest.fixture
def tracker_standing():
    from p2ptracker.enrolment.inventory import Inventory
    from p2ptracker.enrolment.standing import Standing

    return Standing(Refusals(enrolments=(), serials={}), Inventory([]))
