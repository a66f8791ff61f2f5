"""Who takes ROLLOUTs over approves anew what stands, after a look at whether it stands at all."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from p2pctl.approving import check_release, check_standing, read_proposal
from p2pctl.client import ApiClient
from p2pctl.fleet_dir import FleetDir
from p2pctl.render.trust import view_keys, view_rotation
from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import RolloutId, Version
from p2pdeploy.messages.api import RolloutState, RolloutView
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal, StandingView
from p2pdeploy.messages.keys import KeyView, RotationAnswer, RotationRequest
from p2pdeploy.messages.orders import Rollout
from p2pdeploy.testing.orders import a_plan, rollout_of
from p2pdeploy.trust.envelope import seal, signed_part
from p2pdeploy.trust.signing import SigningKey, is_signed
from tests.p2pctl.unconnected import Served, a_view
from tests.p2ptracker.rollout_bench import World

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
HELLO_1 = RolloutId("hello-1")
STRANGER = SigningKey.generate(role="rollout")


def proposal_of(rollout: Rollout) -> RolloutProposal:
    return RolloutProposal(
        rollout=rollout.rollout_id,
        payloads=[encode(rollout)],
        signed_by=[],
        threshold=2,
        standing=(seal(rollout, STRANGER),),
    )


def a_rollout(number: int) -> Rollout:
    """One that ended weeks ago."""
    then = NOW.timestamp() - 30 * 86_400
    rollout = rollout_of(a_plan(now=then), failure_fraction_max=0.1)
    return msgspec.structs.replace(rollout, rollout_id=RolloutId(f"web-{number}"))


@dataclass
class ControlPlane(ApiClient):
    """Two rollouts stand; *signed* are the signatures that came."""

    folder: Path
    signed_by: list[str] = field(default_factory=list)
    state: RolloutState = "failed"
    signed: list[tuple[str, ApprovalRequest]] = field(default_factory=list)

    def __exit__(self, *_: object) -> None:
        """There is no connection."""

    def standing_rollouts(self) -> list[StandingView]:
        return [
            StandingView(rollout=RolloutId("web-1"), signed_by=[], threshold=2),
            StandingView(rollout=RolloutId("web-2"), signed_by=self.signed_by, threshold=2),
        ]

    def rollout_proposal(self, rollout_id: str) -> RolloutProposal:
        return proposal_of(a_rollout(int(rollout_id.removeprefix("web-"))))

    def sign_rollout(self, rollout_id: str, request: ApprovalRequest) -> RolloutView:
        self.signed.append((rollout_id, request))
        return a_view(rollout_id, self.state, NOW)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    connected = ControlPlane(tmp_path)
    monkeypatch.setattr(FleetDir, "connect", lambda _: connected)
    return connected


def sign(folder: Path, *what: str) -> tuple[object, ...]:
    return ("rollout", "sign", *what, "--key", folder / "my.key", "--dir", folder)


def test_all_that_stands_is_shown_and_signed(p2pctl, api, key, tmp_path: Path) -> None:
    done = p2pctl(*sign(tmp_path, "--standing", "-y", "-o", "json"))
    assert done.code == 0, "that a rollout failed weeks ago is nobody's failure now"
    assert [each["id"] for each in done.document()] == ["web-1", "web-2"]
    assert [rollout for rollout, _ in api.signed] == ["web-1", "web-2"]
    for rollout, request in api.signed:
        (payload,) = api.rollout_proposal(rollout).payloads
        assert is_signed(key.public_key, signed_part(Rollout, payload), request.signatures[0])
    assert done.err.count("Stands already:") == 2
    assert "nothing starts because of it" in done.err
    assert "it has expired: no plan starts by it" in done.err
    assert "web-1: 1 of 2 signatures" in done.err


def test_one_that_stands_is_signed_by_its_id(p2pctl, api, key, tmp_path: Path) -> None:
    done = p2pctl(*sign(tmp_path, "web-2", "-y"))
    assert (done.code, [rollout for rollout, _ in api.signed]) == (0, ["web-2"]), done


def test_what_the_key_signed_before_is_left_out(p2pctl, api, key, tmp_path: Path) -> None:
    api.signed_by = [key.key_id]
    assert p2pctl(*sign(tmp_path, "--standing", "-y")).code == 0
    assert [rollout for rollout, _ in api.signed] == ["web-1"]


def test_nothing_is_signed_when_nobody_can_be_asked(p2pctl, api, key, tmp_path: Path) -> None:
    done = p2pctl(*sign(tmp_path, "--standing"))
    assert (done.code, api.signed) == (2, [])


@pytest.mark.parametrize("what", [(), ("web-1", "--standing")])
def test_one_or_all_is_named(p2pctl, api, key, tmp_path: Path, what: tuple[str, ...]) -> None:
    assert p2pctl(*sign(tmp_path, *what, "-y")).code == 2
    assert api.signed == []


def test_only_the_end_of_a_rotation_abandons_what_stands(p2pctl, api, tmp_path: Path) -> None:
    done = p2pctl("keys", "rotate", "rollout", "--abandon-standing", "--dir", tmp_path)
    assert done.code == 2
    assert "--finish" in done.err


def test_what_stands_and_never_expires_is_not_signed() -> None:
    for expires_at in (float("nan"), float("-inf"), NOW.timestamp() + 365 * 86_400):
        odd = msgspec.structs.replace(a_rollout(1), expires_at=expires_at)
        with pytest.raises(TrustError) as refused:
            read_proposal(proposal_of(odd), "web-1", NOW)
        assert refused.value.code == "odd-proposal"


def test_what_does_not_stand_may_not_have_expired() -> None:
    fresh = msgspec.structs.replace(proposal_of(a_rollout(1)), standing=())
    assert read_proposal(proposal_of(a_rollout(1)), "web-1", NOW) == (a_rollout(1),)
    with pytest.raises(TrustError):
        read_proposal(fresh, "web-1", NOW)


@pytest.fixture
async def world(world: World) -> World:
    """hello 1 stands, and a stranger takes ROLLOUTs over."""
    await world.complete("1")
    request = RotationRequest(public_keys=(SigningKey.generate().public_key,))
    await world.plane.keys.rotate("rollout", request)
    return world


def now_in(world: World) -> dt.datetime:
    return dt.datetime.fromtimestamp(world.now, dt.UTC)


async def test_what_stands_is_known_by_who_approved_it(world: World) -> None:
    proposal, api = await world.desk.proposal(HELLO_1), Served(world)
    assert check_standing(api, proposal, now_in(world))
    (rollout,) = read_proposal(proposal, HELLO_1, now_in(world))
    assert check_release(api, rollout, now_in(world), stands=True)
    (world.folder / "ca" / "release-root.json").unlink()
    assert not check_standing(api, proposal, now_in(world))


async def test_what_nobody_approved_does_not_stand(world: World) -> None:
    proposal = await world.desk.proposal(HELLO_1)
    (rollout,) = read_proposal(proposal, HELLO_1, now_in(world))
    with pytest.raises(TrustError) as refused:
        check_standing(Served(world), proposal_of(rollout), now_in(world))
    assert refused.value.code == "odd-proposal"


async def test_what_stands_must_be_what_is_signed(world: World) -> None:
    proposal = await world.desk.proposal(HELLO_1)
    (rollout,) = read_proposal(proposal, HELLO_1, now_in(world))
    other = msgspec.structs.replace(rollout, max_unavailable=rollout.max_unavailable + 1)
    for payloads in ([encode(other)], [], [*proposal.payloads, encode(other)]):
        odd = msgspec.structs.replace(proposal, payloads=payloads)
        with pytest.raises(TrustError) as refused:
            check_standing(Served(world), odd, now_in(world))
        assert refused.value.code == "odd-proposal"


async def test_a_version_that_is_live_no_more_can_stand(world: World) -> None:
    (rollout,) = read_proposal(await world.desk.proposal(HELLO_1), HELLO_1, now_in(world))
    gone = msgspec.structs.replace(rollout.build, version=Version("9"))
    rollout = msgspec.structs.replace(rollout, build=gone)
    assert not check_release(Served(world), rollout, now_in(world), stands=True)
    with pytest.raises(TrustError):
        check_release(Served(world), rollout, now_in(world))


def test_the_status_and_the_beginning_say_what_is_waited_for() -> None:
    stands = tuple(f"web-{number}" for number in range(1, 6))
    answer = RotationAnswer(
        role="rollout",
        state="sealing",
        key_ids=("rollout/a",),
        next_at=NOW,
        unsigned_rollouts=stands,
    )
    view = KeyView(
        role="rollout",
        key_ids=(),
        threshold=2,
        place="elsewhere",
        belongs="offline",
        stolen="",
        state="sealing",
        next_at=NOW,
        next_key_ids=("rollout/a",),
        unsigned_rollouts=stands,
    )
    for shown in (view_rotation(answer), view_keys([view])):
        out = io.StringIO()
        Console(file=out, width=1_000).print(shown)
        assert "waits for signatures on web-1, web-2, web-3 and 2 more" in out.getvalue()
        assert "p2pctl rollout sign --standing --key FILE" in out.getvalue()
        assert "--finish" not in out.getvalue(), "that would be refused"
        assert out.getvalue().count("waits for signatures on web-1") == 1
    begun = io.StringIO()
    Console(file=begun, width=1_000).print(view_rotation(answer))
    assert "counts until it is finished" in begun.getvalue(), "nothing ends by itself meanwhile"
    status = io.StringIO()
    Console(file=status, width=160).print(view_keys([view]))
    assert max(map(len, status.getvalue().splitlines())) <= 160
