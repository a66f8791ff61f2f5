"""The keys of releases themselves come and go by new roots, and what expires is signed again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
import pytest

from p2pdeploy.messages.keys import KeyView, RenewalRequest, RotationAnswer, RotationRequest
from p2pdeploy.trust.releases.proposals import Proposal, propose_root, sign
from p2pdeploy.trust.releases.reading import expiries, top_keys_of
from p2pdeploy.trust.releases.repository import bundle_for
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.releases.verify import first_seen, verify_order_keys
from p2pdeploy.trust.signing import SigningKey
from tests.p2ptracker.tracker_bench import open_http
from tests.trust_folder import operator_files


async def post(tracker, path: str, request: msgspec.Struct):
    return await tracker.http.post(
        f"/v1/keys/{path}",
        content=msgspec.json.encode(request),
        headers={"Content-Type": "application/json"},
    )


async def ask(tracker, path: str, request: msgspec.Struct) -> RotationAnswer:
    answer = await post(tracker, path, request)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=RotationAnswer)


async def refusal(tracker, path: str, request: msgspec.Struct) -> str:
    answer = await post(tracker, path, request)
    assert answer.status_code >= 400
    return answer.json()["error"]["code"]


class Host:
    """One that judges what the control plane publishes, and remembers."""

    def __init__(self, tracker) -> None:
        self._tracker = tracker
        self.seen: Seen = first_seen(tracker.plane.trust.release_root)
        self.look()

    def look(self) -> Seen:
        repository = self._tracker.plane.repository.repository
        bundle = bundle_for(repository, "", root_version=self.seen.root_version)
        self.seen = verify_order_keys(bundle, self.seen, now=dt.datetime.now(dt.UTC)).seen
        return self.seen


def take_offline(tracker, role: str) -> SigningKey:
    path = tracker.plane.trust.paths.key(role)
    key = SigningKey.from_pem(path.read_bytes(), role=role)
    path.unlink()
    return key


def signed(answer: RotationAnswer, *keys: SigningKey) -> tuple[bytes, ...]:
    assert answer.state == "unsigned"
    found: Sequence[Proposal] = [Proposal.from_bytes(data) for data in answer.proposals]
    return tuple(
        msgspec.structs.replace(
            proposal, signatures=dict(sign(proposal, key) for key in keys)
        ).to_bytes()
        for proposal in found
    )


def signers(tracker, role: str) -> tuple[bytes, ...]:
    return getattr(top_keys_of(tracker.plane.repository.repository.root), role).public_keys


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
async def test_every_role_gets_another_key_and_hosts_follow(fleet_dir, started, role: str) -> None:
    async with started(fleet_dir) as tracker:
        host, before = Host(tracker), signers(tracker, role)
        answer = await ask(tracker, f"{role}/rotation", RotationRequest())
        assert answer.state == "done"
        assert signers(tracker, role) != before
        assert host.look().root_version == 2
    async with started(fleet_dir) as tracker:
        host.__init__(tracker)
        assert not tracker.plane.trust.paths.next_key(role).exists()
        await tracker.plane.repository.refresh_if_due()
        answer = await ask(tracker, f"{role}/rotation", RotationRequest())
        assert answer.state == "done", "and again, after a restart"
        assert host.look().root_version == 3


async def test_a_stolen_snapshot_key_signs_nothing_once_it_was_rotated(tracker) -> None:
    """And what it may have signed is forgotten: the recovery from a fast-forward attack."""
    host = Host(tracker)
    await ask(tracker, "snapshot/rotation", RotationRequest())
    assert host.look().roles["snapshot"].key_ids == (
        tracker.plane.repository.keys.online.snapshot.key_id,
    )


async def test_a_kill_after_the_root_was_stored_finds_the_key_that_it_names(
    fleet_dir, started
) -> None:
    async with started(fleet_dir) as tracker:
        paths = tracker.plane.trust.paths
        old = paths.key("timestamp").read_bytes()
        await ask(tracker, "timestamp/rotation", RotationRequest())
        new = paths.key("timestamp").read_bytes()
    paths.key("timestamp").write_bytes(old)
    paths.next_key("timestamp").write_bytes(new)
    paths.next_key("timestamp").chmod(0o600)
    async with started(fleet_dir) as tracker:
        assert tracker.plane.trust.keys["timestamp"].to_pem() == new
        Host(tracker)


async def test_with_root_and_targets_keys_offline_their_owners_sign(tracker) -> None:
    host = Host(tracker)
    root, targets = take_offline(tracker, "root"), take_offline(tracker, "targets")
    asked = await ask(tracker, "snapshot/rotation", RotationRequest())
    thief = SigningKey.generate(role="root")
    forged = RotationRequest(signed=signed(asked, thief))
    assert await refusal(tracker, "snapshot/rotation", forged) == "release-wrong-key"
    done = RotationRequest(signed=signed(asked, root))
    assert (await ask(tracker, "snapshot/rotation", done)).state == "done"
    assert host.look().root_version == 2
    assert await refusal(tracker, "targets/rotation", RotationRequest()) == "no-public-keys"
    new = SigningKey.generate(role="targets")
    request = RotationRequest(public_keys=(new.public_key,))
    asked = await ask(tracker, "targets/rotation", request)
    both = msgspec.structs.replace(request, signed=signed(asked, root, new))
    assert (await ask(tracker, "targets/rotation", both)).state == "done"
    assert host.look().roles["targets"].version == 2
    new_roots = [SigningKey.generate(role="root") for _ in range(3)]
    request = RotationRequest(public_keys=tuple(k.public_key for k in new_roots), threshold=2)
    asked = await ask(tracker, "root/rotation", request)
    alone = msgspec.structs.replace(request, signed=signed(asked, *new_roots))
    assert await refusal(tracker, "root/rotation", alone) == "release-wrong-key"
    whole = msgspec.structs.replace(request, signed=signed(asked, root, *new_roots[:2]))
    assert (await ask(tracker, "root/rotation", whole)).state == "done"
    assert host.look().root_version == 4
    assert targets.public_key not in signers(tracker, "targets")


async def test_a_root_that_says_more_than_was_proposed_is_refused(tracker) -> None:
    root, thief = take_offline(tracker, "root"), SigningKey.generate(role="targets")
    await ask(tracker, "snapshot/rotation", RotationRequest())
    repository = tracker.plane.repository.repository
    keys = msgspec.structs.replace(
        top_keys_of(repository.root),
        targets=msgspec.structs.replace(
            top_keys_of(repository.root).targets, public_keys=(thief.public_key,)
        ),
    )
    other = propose_root(repository.roots[-1], keys, now=dt.datetime.now(dt.UTC))
    other = msgspec.structs.replace(other, signatures=dict([sign(other, root)]))
    request = RotationRequest(signed=(other.to_bytes(),))
    assert await refusal(tracker, "snapshot/rotation", request) == "stale-proposal"


async def test_online_keys_are_no_persons_and_have_no_end_to_finish(tracker) -> None:
    public = SigningKey.generate().public_key
    request = RotationRequest(public_keys=(public,))
    assert await refusal(tracker, "timestamp/rotation", request) == "not-for-people"
    assert await refusal(tracker, "root/rotation", RotationRequest(finish=True)) == "no-rotation"


@pytest.mark.parametrize("role", ["root", "targets"])
async def test_a_document_is_signed_again_before_it_expires(tracker, role: str) -> None:
    host, key = Host(tracker), take_offline(tracker, role)
    before = expiries(tracker.plane.repository.repository)[role]
    asked = await ask(tracker, f"{role}/renewal", RenewalRequest())
    done = RenewalRequest(signed=signed(asked, key))
    assert (await ask(tracker, f"{role}/renewal", done)).state == "done"
    assert expiries(tracker.plane.repository.repository)[role] >= before
    host.look()
    assert await refusal(tracker, f"{role}/renewal", done) == "stale-proposal", "used once"


async def test_what_is_live_of_a_service_is_signed_again_by_its_publisher(tracker, payload) -> None:
    await tracker.publish("1.0.0", payload())
    asked = await ask(tracker, "renewal/hello", RenewalRequest())
    thief = RenewalRequest(signed=signed(asked, SigningKey.generate(role="publisher")))
    assert await refusal(tracker, "renewal/hello", thief) == "release-wrong-key"
    done = RenewalRequest(signed=signed(asked, tracker.publisher_key()))
    assert (await ask(tracker, "renewal/hello", done)).state == "done"
    views = msgspec.json.decode((await tracker.http.get("/v1/keys")).content, type=list[KeyView])
    assert [v.key_ids for v in views if v.role == "svc/hello"] == [
        (tracker.publisher_key().key_id,)
    ]
    assert list(tracker.plane.repository.live("hello")) == ["1.0.0"]
    assert await refusal(tracker, "renewal/other", RenewalRequest()) == "not-found"
    for role, status in (("publisher:other", 403), ("viewer", 403), ("publisher:hello", 200)):
        identity = operator_files(tracker.folder, "pat", role)
        async with open_http(identity, tracker.ports.api) as http:
            assert (await http.post("/v1/keys/renewal/hello", json={})).status_code == status
            assert (await http.post("/v1/keys/root/renewal", json={})).status_code == 403


async def test_keys_that_were_taken_offline_are_not_in_memory(tracker) -> None:
    plane = tracker.plane
    assert {"root", "targets"}.isdisjoint(plane.trust.keys)
    assert plane.repository.keys.read("targets") is not None
    take_offline(tracker, "targets")
    assert plane.repository.keys.read("targets") is None
    assert not plane.repository.keys.has_targets
