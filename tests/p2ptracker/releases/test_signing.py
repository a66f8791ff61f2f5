"""A release is nothing to hosts before its publishers signed it; the control plane can't."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import msgspec
import pytest
from prometheus_client import generate_latest

from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.api import ReleaseView
from p2pdeploy.messages.signing import DelegationRequest, ProposalView
from p2pdeploy.payload.build import Built
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.proposals import propose_targets, services_of
from p2pdeploy.trust.releases.reading import order_keys_of
from p2pdeploy.trust.releases.verify import VerifiedRelease, first_seen, verify_release
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.control_plane import open_control_plane
from p2ptracker.releases.desk import PROPOSAL_LIFETIME_S
from tests.p2ptracker.tracker_bench import code_of, open_http
from tests.trust_folder import operator_files

Payload = Callable[..., Built]
HELLO = ServiceName("hello")


def view_of(answer) -> ProposalView:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=ProposalView)


async def state_of(tracker, version: str = "1.0.0") -> str:
    shown = await tracker.http.get(f"/v1/releases/hello/{version}")
    [listed] = [
        release
        for release in (await tracker.http.get("/v1/releases/hello")).json()
        if release["version"] == version
    ]
    assert listed == shown.json()
    return msgspec.json.decode(shown.content, type=ReleaseView).state


async def verified(tracker, version: str, *, days: float = 0) -> VerifiedRelease:
    """What a host would say, so many days from now."""
    answer = await tracker.as_host("h01").get("/v1/bundles/hello?root=1")
    assert answer.status_code == 200, answer.text
    seen = first_seen(tracker.plane.trust.bundle().release_root)
    now = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    return verify_release(answer.content, seen, service="hello", version=version, now=now)


async def test_a_release_is_pending_until_it_is_signed(tracker, payload: Payload) -> None:
    built = payload()
    committed = await tracker.commit_all("1.0.0", built)
    assert committed.json()["state"] == "pending"
    assert await state_of(tracker) == "pending"
    assert code_of(await tracker.as_host("h01").get("/v1/bundles/hello"))[0] == 404
    proposed = await tracker.proposed("1.0.0")
    assert (proposed.state, proposed.missing_signatures) == ("pending", 1)
    assert view_of(await tracker.sign("1.0.0", proposed)).state == "signed"
    assert await state_of(tracker) == "signed"
    assert (await verified(tracker, "1.0.0")).release.manifest_digest == built.manifest_digest
    assert (await tracker.proposed("1.0.0")).state == "signed"


async def test_a_new_service_is_the_fleets_publishers_and_it_is_said_once(
    tracker, payload: Payload
) -> None:
    await tracker.commit_all("1.0.0", payload())
    assert (await tracker.proposed("1.0.0")).service_added
    assert not (await tracker.proposed("1.0.0")).service_added


def _key_of(tracker, role: str) -> SigningKey:
    """One that lies in the fleet's folder, as a thief of the whole machine reads it."""
    path = tracker.plane.trust.paths.key(role)
    return SigningKey.from_pem(path.read_bytes(), role=role)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", "deployer", "rollout"])
async def test_a_signature_by_a_stolen_key_of_the_control_plane_counts_for_nothing(
    tracker, payload: Payload, role: str
) -> None:
    await tracker.commit_all("1.0.0", payload())
    proposed = await tracker.proposed("1.0.0")
    answer = await tracker.sign("1.0.0", proposed, _key_of(tracker, role))
    assert code_of(answer) == (401, "release-wrong-key")
    assert await state_of(tracker) == "pending"


async def test_a_signature_on_something_else_is_stale(tracker, payload: Payload) -> None:
    await tracker.commit_all("1.0.0", payload(1))
    await tracker.commit_all("1.1.0", payload(2))
    older, newer = await tracker.proposed("1.0.0"), await tracker.proposed("1.1.0")
    assert code_of(await tracker.sign("1.1.0", older)) == (409, "stale-proposal")
    assert view_of(await tracker.sign("1.1.0", newer)).state == "signed"
    assert code_of(await tracker.sign("1.0.0", older)) == (409, "stale-proposal"), "too late"
    assert (await tracker.signed("1.0.0")).state == "signed", "proposed anew"
    assert {"1.0.0", "1.1.0"} == set(tracker.plane.repository.live(HELLO))


async def test_two_of_three_publishers_sign_and_a_restart_forgets_neither(
    fleet_dir, started, payload: Payload
) -> None:
    keys = [SigningKey.generate(role="publisher") for _ in range(3)]
    names = ", ".join(f'"{key.public_key.hex()}"' for key in keys)
    (fleet_dir / "trust" / "publishers.toml").write_text(f"threshold = 2\nkeys = [{names}]\n")
    async with started(fleet_dir) as tracker:
        await tracker.commit_all("1.0.0", payload())
        proposed = await tracker.proposed("1.0.0")
        for _ in range(2):
            answer = view_of(await tracker.sign("1.0.0", proposed, keys[0]))
            assert (answer.state, answer.missing_signatures) == ("pending", 1), "one key, once"
    async with started(fleet_dir) as tracker:
        proposed = await tracker.proposed("1.0.0")
        assert proposed.missing_signatures == 1
        assert view_of(await tracker.sign("1.0.0", proposed, keys[2])).state == "signed"
    async with started(fleet_dir) as tracker:
        assert await state_of(tracker) == "signed"
        await verified(tracker, "1.0.0")


async def test_without_the_targets_key_a_new_service_waits_for_its_owner(
    fleet_dir, started, payload: Payload
) -> None:
    offline = fleet_dir / "trust" / "keys" / "targets.key"
    targets_key = SigningKey.from_pem(offline.read_bytes(), role="targets")
    offline.unlink()
    async with started(fleet_dir) as tracker:
        answer = await tracker.begin("1.0.0", payload())
        assert code_of(answer) == (409, "no-publishers")
        assert "release delegate hello" in answer.json()["error"]["hint"]
        current = tracker.plane.repository.repository.targets
        publishers = RoleKeys(threshold=1, public_keys=(tracker.publisher_key().public_key,))
        proposal = propose_targets(
            current,
            order_keys=order_keys_of(current),
            services={**services_of(current), "hello": publishers},
            now=dt.datetime.now(dt.UTC),
        )

        async def delegate(*signers: SigningKey):
            signed = proposal_in(sign_file(proposal, *signers), "targets")
            request = DelegationRequest(proposal=signed.to_bytes())
            return await tracker.http.post(
                "/v1/delegations",
                content=msgspec.json.encode(request),
                headers={"Content-Type": "application/json"},
            )

        stolen = tracker.plane.trust.keys["snapshot"]
        assert code_of(await delegate(stolen)) == (401, "release-wrong-key")
        assert (await delegate(targets_key)).json() == {"services": {"hello": 1}}
        await tracker.publish("1.0.0", payload())
        await verified(tracker, "1.0.0")


async def test_only_publishers_sign_and_only_admins_delegate(tracker, payload: Payload) -> None:
    await tracker.commit_all("1.0.0", payload())
    for role in ("viewer", "publisher:other", "rollout-owner"):
        async with open_http(
            operator_files(tracker.folder, "eve", role), tracker.ports.api
        ) as http:
            answer = await http.post("/v1/releases/hello/1.0.0/proposal")
            assert code_of(answer) == (403, "forbidden")
    for role in ("publisher:hello", "publisher:*"):
        async with open_http(
            operator_files(tracker.folder, "pat", role), tracker.ports.api
        ) as http:
            assert (await http.post("/v1/releases/hello/1.0.0/proposal")).status_code == 200
            answer = await http.post("/v1/delegations", json={"proposal": ""})
            assert code_of(answer) == (403, "forbidden")
    host = tracker.as_host("h01")
    assert (await host.post("/v1/releases/hello/1.0.0/proposal")).status_code == 403
    assert (await host.get("/v1/bundles")).status_code == 200


async def test_a_proposal_that_would_drop_what_hosts_run_is_made_anew(
    tracker, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pdeploy.trust.releases.proposals.RELEASES_LIVE_MAX", 2)
    for number in (1, 2):
        await tracker.publish(f"{number}.0.0", payload(number))
    await tracker.commit_all("3.0.0", payload(3))
    desk, live = tracker.plane.releases, tracker.plane.repository.live
    proposed = await desk.propose(HELLO, "3.0.0", frozenset())  # would drop 1.0.0
    in_use = frozenset({"1.0.0"})
    anew = await desk.propose(HELLO, "3.0.0", in_use)
    assert anew.proposal != proposed.proposal
    assert (await tracker.sign("3.0.0", proposed)).json()["error"]["code"] == "stale-proposal"
    assert view_of(await tracker.sign("3.0.0", anew)).state == "signed"
    assert set(live(HELLO)) == {"1.0.0", "3.0.0"}
    assert await state_of(tracker, "2.0.0") == "pending", "dropped: nobody vouches for it"


async def test_metadata_is_signed_anew_before_it_expires(
    fleet_dir, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset_s = 0.0

    def clock() -> float:
        return dt.datetime.now(dt.UTC).timestamp() + offset_s

    async with open_control_plane(fleet_dir, clock=clock) as plane:
        keeper, before = plane.repository, plane.repository.repository
        await keeper.refresh_if_due()
        assert keeper.repository is before, "nothing is due"
        for days in (0.6, 4, 60, 120):
            offset_s = days * 86400
            await keeper.refresh_if_due()
            for line in generate_latest(plane.metrics.registry).decode().splitlines():
                if line.startswith("p2p_release_metadata_expires_seconds"):
                    assert float(line.rpartition(" ")[2]) > 10 * 3600, (days, line)
    async with open_control_plane(fleet_dir, clock=clock) as plane:
        assert plane.repository.repository == keeper.repository


async def test_an_old_proposal_is_made_anew(fleet_dir, started, payload: Payload) -> None:
    async with started(fleet_dir) as tracker:
        await tracker.commit_all("1.0.0", payload())
        proposed = await tracker.proposed("1.0.0")
        assert (await tracker.proposed("1.0.0")).proposal == proposed.proposal
        keeper = tracker.plane.repository
        keeper._clock = lambda: dt.datetime.now(dt.UTC).timestamp() + PROPOSAL_LIFETIME_S + 1
        assert (await tracker.proposed("1.0.0")).proposal != proposed.proposal


async def test_a_rollout_of_a_release_that_is_not_signed_is_refused(
    tracker, payload: Payload
) -> None:
    await tracker.commit_all("1.0.0", payload())
    request = {
        "service": "hello",
        "version": "1.0.0",
        "environment": "lab",
        "machine_function": "web",
    }
    for path in ("/v1/rollouts/plan", "/v1/rollouts"):
        answer = await tracker.http.post(path, json=request)
        assert code_of(answer) == (409, "release-unsigned")
        assert "release sign hello 1.0.0" in answer.json()["error"]["hint"]
    await tracker.signed("1.0.0")
    answer = await tracker.http.post("/v1/rollouts/plan", json=request)
    assert code_of(answer) == (409, "none-alive"), "it gets as far as the hosts"
