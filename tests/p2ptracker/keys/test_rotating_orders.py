"""Keys that sign orders come and go while the control plane runs, and through its restarts."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.gossip.state import item_of
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName, Version
from p2pdeploy.messages.keys import KeyView, RotationAnswer, RotationRequest
from p2pdeploy.messages.orders import Abort, Excuse, Go
from p2pdeploy.testing.fleet_keys import sealed_by
from p2pdeploy.testing.orders import a_plan, rollout_of
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.releases.proposals import Proposal, sign
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.keys.rotation import Waits
from p2ptracker.storage.rollouts import RolloutRow, save_orders, save_rollout, stored_orders
from tests.p2ptracker.tracker_bench import open_http
from tests.trust_folder import operator_files

CELL, HELLO = CellId("lab.web.c0"), ServiceName("hello")
NOW = Waits(step_s=0.0, credentials_s=0.0)
GO = Go(cell=CELL, lease_seq=7, issued_at=1.0, not_after=31.0, grants=())
FORGED = Abort(cell=CELL, service=HELLO, watermark=9, rollout_seq=5, code="forged", reason="")
FORGED_EXCUSE = Excuse(
    cell=CELL, service=HELLO, plan_seq=4, excuse_seq=9, hosts=(HostName("h01"),), reason=""
)
ABORT = Abort(cell=CELL, service=HELLO, watermark=4, rollout_seq=1, code="bad", reason="")
ROLLOUT = msgspec.structs.replace(rollout_of(a_plan()), cell=CELL, service=HELLO)


async def ask(tracker, role: str, **request) -> RotationAnswer:
    answer = await tracker.http.post(
        f"/v1/keys/{role}/rotation",
        content=msgspec.json.encode(RotationRequest(**request)),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=RotationAnswer)


async def refusal(tracker, role: str, **request) -> str:
    answer = await tracker.http.post(
        f"/v1/keys/{role}/rotation",
        content=msgspec.json.encode(RotationRequest(**request)),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code >= 400
    return answer.json()["error"]["code"]


async def step(tracker, role: str, waits: Waits = NOW) -> None:
    """What the task does when it is time."""
    before, tracker.plane.keys.waits = tracker.plane.keys.waits, waits
    try:
        await tracker.plane.keys._step(role)
    finally:
        tracker.plane.keys.waits = before


async def issue(tracker, *orders) -> None:
    sealed = tracker.plane.cells.seal(CELL, orders)
    await tracker.plane.database.write(lambda c: save_orders(c, sealed.rows))
    tracker.plane.cells.issue(sealed)


def held(tracker, key: str) -> bytes:
    item = tracker.plane.cells.get(CELL).state.get(key)
    return item.envelope if item else b""


def counts(tracker, message, key: SigningKey) -> bool:
    try:
        return open_envelope(seal(message, key), tracker.plane.verifier) == message
    except TrustError:
        return False


def take_targets_key(tracker) -> SigningKey:
    """Take it offline, while the control plane runs."""
    path = tracker.plane.trust.paths.key("targets")
    key = SigningKey.from_pem(path.read_bytes(), role="targets")
    path.unlink()
    return key


def signed_by(answer: RotationAnswer, *keys: SigningKey) -> tuple[bytes, ...]:
    (proposal,) = [Proposal.from_bytes(data) for data in answer.proposals]
    signatures = dict(sign(proposal, key) for key in keys)
    return (msgspec.structs.replace(proposal, signatures=signatures).to_bytes(),)


async def test_a_stolen_go_key_is_refused_once_it_was_rotated(tracker) -> None:
    stolen = tracker.plane.trust.keys["go"]
    await issue(tracker, GO)
    answer = await ask(tracker, "go")
    assert (answer.state, answer.by_itself) == ("announced", True)
    assert tracker.plane.trust.keys["go"] is stolen, "hosts that have not heard know no other"
    await step(tracker, "go")
    new = tracker.plane.trust.keys["go"]
    assert new.key_id != stolen.key_id
    assert counts(tracker, GO, stolen)
    assert held(tracker, "go") == seal(GO, new), "what stands is sealed anew"
    await step(tracker, "go")
    assert not counts(tracker, GO, stolen)
    assert counts(tracker, GO, new)
    assert tracker.plane.keys.under_way("go") is None
    assert held(tracker, "go") == seal(GO, new)


async def test_a_step_is_not_made_before_its_time(tracker) -> None:
    before = tracker.plane.trust.keys["go"]
    await ask(tracker, "go")
    await step(tracker, "go", Waits())
    assert tracker.plane.trust.keys["go"] is before
    assert await refusal(tracker, "go", finish=True) == "too-early"
    assert await refusal(tracker, "go") == "rotation-under-way"
    assert await refusal(tracker, "abort", finish=True) == "no-rotation"
    await step(tracker, "go")
    assert await refusal(tracker, "go", finish=True) == "too-early"


@pytest.mark.parametrize("role", ["deployer", "go", "abort", "enrol", "rollout"])
async def test_a_rotation_goes_on_after_a_restart_in_each_step(
    fleet_dir, started, role: str
) -> None:
    async with started(fleet_dir) as tracker:
        old = tracker.plane.trust.keys[role].key_id
        await issue(tracker, GO, ABORT)
        await ask(tracker, role)
    async with started(fleet_dir) as tracker:
        assert tracker.plane.trust.keys[role].key_id == old
        await step(tracker, role)
        new = tracker.plane.trust.keys[role].key_id
        assert new != old
    async with started(fleet_dir) as tracker:
        assert tracker.plane.trust.keys[role].key_id == new
        await step(tracker, role)
        assert tracker.plane.keys.under_way(role) is None
    async with started(fleet_dir) as tracker:
        assert tracker.plane.trust.keys[role].key_id == new
        assert tracker.plane.verifier.key_ids(role) == {new}
        cell = tracker.plane.cells.get(CELL)
        assert (cell.order("go"), cell.order("abort/hello")) == (GO, ABORT), "nothing was lost"


async def test_a_kill_after_the_new_key_was_stored_finds_it(fleet_dir, started) -> None:
    """The database says that it signs, and its file is not in place yet."""
    async with started(fleet_dir) as tracker:
        await ask(tracker, "go")
        paths = tracker.plane.trust.paths
        old, coming = paths.key("go").read_bytes(), paths.next_key("go").read_bytes()
        await step(tracker, "go")
    paths.key("go").write_bytes(old)
    paths.next_key("go").write_bytes(coming)
    paths.next_key("go").chmod(0o600)
    async with started(fleet_dir) as tracker:
        assert tracker.plane.trust.keys["go"].to_pem() == coming
        assert not paths.next_key("go").exists()


async def bring(tracker, message, key: SigningKey) -> bytes:
    """A thief of *key* says *message* in the cell; returns the envelope."""
    envelope, cell = seal(message, key), tracker.plane.cells.get(CELL)
    cell.put(item_of(message, envelope), message, 0.0)
    item = item_of(message, envelope)
    cell._unsaved[item.key] = (item, message, 0.0)
    await tracker.plane.cells.store_unsaved()
    return envelope


async def test_what_a_thief_brought_into_a_cell_is_not_sealed_anew(fleet_dir, started) -> None:
    async with started(fleet_dir) as tracker:
        plane = tracker.plane
        envelope = await bring(tracker, FORGED_EXCUSE, plane.trust.keys["deployer"])
        await ask(tracker, "deployer")
        await step(tracker, "deployer")
        assert held(tracker, "excuse/hello") == envelope
        await step(tracker, "deployer")
        assert held(tracker, "excuse/hello") == b""
        assert await plane.database.read(stored_orders) == []
    async with started(fleet_dir) as tracker:
        assert tracker.plane.cells.get(CELL).order("excuse/hello") is None


@pytest.mark.parametrize("role", ["abort", "go", "deployer"])
async def test_plans_are_numbered_above_what_a_thief_aborted(fleet_dir, started, role: str) -> None:
    async with started(fleet_dir) as tracker:
        await issue(tracker, ABORT)
        forged = await bring(tracker, FORGED, tracker.plane.trust.keys[role])
        for again in (role, "abort"):  # and whatever is rotated after that
            await ask(tracker, again)
            await step(tracker, again)
            await step(tracker, again)
        assert held(tracker, "abort/hello") not in (b"", forged)
    async with started(fleet_dir) as tracker:
        cell = tracker.plane.cells.get(CELL)
        assert (cell.plan_seq_max(HELLO), cell.rollout_seq_max(HELLO)) == (9, 5)
        order = cell.order("abort/hello")
        assert isinstance(order, Abort)
        assert order.reason == "aborted with a key that was rotated since"


async def test_without_the_targets_key_its_owner_signs_the_beginning_and_the_end(tracker) -> None:
    targets = take_targets_key(tracker)
    asked = await ask(tracker, "deployer")
    assert asked.state == "unsigned"
    assert tracker.plane.keys.under_way("deployer") is None
    thief = SigningKey.generate(role="targets")
    assert await refusal(tracker, "deployer", signed=signed_by(asked, thief)) == "release-wrong-key"
    begun = await ask(tracker, "deployer", signed=signed_by(asked, targets))
    assert (begun.state, begun.by_itself) == ("announced", False)
    old, _ = tracker.plane.trust.keys["deployer"], await step(tracker, "deployer")
    await step(tracker, "deployer")
    assert tracker.plane.keys.under_way("deployer") is not None, "the end waits for the owner"
    tracker.plane.keys.waits = NOW
    asked = await ask(tracker, "deployer", finish=True)
    assert asked.state == "unsigned"
    done = await ask(tracker, "deployer", finish=True, signed=signed_by(asked, targets))
    assert done.state == "done"
    assert old.key_id not in tracker.plane.verifier.key_ids("deployer")


async def test_what_is_signed_must_be_what_is_proposed(tracker) -> None:
    """An old proposal, or one of another role, changes nothing."""
    targets = take_targets_key(tracker)
    of_go = await ask(tracker, "go")
    await ask(tracker, "abort")
    assert await refusal(tracker, "abort", signed=signed_by(of_go, targets)) == "stale-proposal"
    await ask(tracker, "go")  # another attempt, another key
    assert await refusal(tracker, "go", signed=signed_by(of_go, targets)) == "stale-proposal"


async def test_people_take_rollouts_over(fleet_dir, started) -> None:
    people = [SigningKey.generate(role="rollout") for _ in range(3)]
    publics = tuple(key.public_key for key in people)
    async with started(fleet_dir) as tracker:
        own = tracker.plane.trust.keys["rollout"]
        answer = await ask(tracker, "rollout", public_keys=publics, threshold=2)
        assert (answer.state, answer.by_itself) == ("sealing", True)
        assert "rollout" not in tracker.plane.trust.keys, "it asks people from now on"
        assert tracker.plane.verifier.threshold("rollout") == 2
        assert counts(tracker, ROLLOUT, own), "hosts still go by what was approved before"
    async with started(fleet_dir) as tracker:
        assert "rollout" not in tracker.plane.trust.keys
        await step(tracker, "rollout")
        assert tracker.plane.keys.under_way("rollout") is None
        assert not counts(tracker, ROLLOUT, own)
        assert not counts(tracker, ROLLOUT, people[0])
        two = sealed_by(ROLLOUT, people[0], people[2])
        assert open_envelope(two, tracker.plane.verifier) == ROLLOUT
        assert not tracker.plane.trust.paths.key("rollout").exists()
    async with started(fleet_dir) as tracker:
        assert tracker.plane.verifier.threshold("rollout") == 2
        await ask(tracker, "rollout")
        assert "rollout" in tracker.plane.trust.keys, "and back"
        await step(tracker, "rollout")
        assert not tracker.plane.verifier.enough_signed("rollout", b"", ())
        assert tracker.plane.verifier.threshold("rollout") == 1


async def test_people_take_over_no_rollout_that_is_under_way(tracker) -> None:
    sealed = tracker.plane.cells.seal(CELL, [ROLLOUT])
    row = RolloutRow(
        id=RolloutId(ROLLOUT.rollout_id),
        service=HELLO,
        version=Version("2.0.0"),
        state="running",
        is_final=False,
        created_at=1.0,
        document=b"",
    )
    await tracker.plane.database.write(lambda c: save_orders(c, sealed.rows))
    await tracker.plane.database.write(lambda c: save_rollout(c, row))
    public = SigningKey.generate().public_key
    await ask(tracker, "rollout", public_keys=(public,))
    with pytest.raises(RefusedError) as refused:
        await step(tracker, "rollout")
    assert refused.value.code == "rollout-under-way"
    done = msgspec.structs.replace(row, is_final=True)
    await tracker.plane.database.write(lambda c: save_rollout(c, done))
    with pytest.raises(RefusedError) as refused:
        await step(tracker, "rollout")
    assert refused.value.code == "standing-unsigned"


async def test_only_rollouts_are_left_to_people_and_only_admins_rotate(tracker) -> None:
    public = SigningKey.generate().public_key
    assert await refusal(tracker, "go", public_keys=(public,)) == "not-for-people"
    assert await refusal(tracker, "go", threshold=2) == "no-public-keys"
    for role in ("viewer", "publisher:*", "rollout-owner"):
        async with open_http(
            operator_files(tracker.folder, "eve", role), tracker.ports.api
        ) as http:
            assert (await http.get("/v1/keys")).status_code == 403
            assert (await http.post("/v1/keys/go/rotation", json={})).status_code == 403


async def test_status_shows_where_a_rotation_stands(tracker) -> None:
    async def view() -> KeyView:
        answer = await tracker.http.get("/v1/keys")
        views = msgspec.json.decode(answer.content, type=list[KeyView])
        return next(each for each in views if each.role == "go")

    before = await view()
    assert (before.state, before.next_at, before.place) == ("done", None, "here")
    await ask(tracker, "go")
    during = await view()
    assert (during.state, during.key_ids) == ("announced", before.key_ids)
    assert during.next_at is not None
    await step(tracker, "go")
    await step(tracker, "go")
    assert (await view()).key_ids == during.next_key_ids
