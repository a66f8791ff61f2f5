"""Who approves a rollout sees what the bytes say, and a lying control plane gets no signature."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from p2pctl.approving import check_release, read_proposal
from p2pctl.client import ApiClient
from p2pctl.fleet_dir import FleetDir
from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import CellId, HostName, RolloutId, ServiceName
from p2pdeploy.messages.api import RolloutRequest, RolloutState, RolloutView
from p2pdeploy.messages.approval import ApprovalRequest, RolloutProposal
from p2pdeploy.messages.orders import Rollout, Target
from p2pdeploy.testing.orders import NEW, OLD, a_build, a_plan, rollout_of
from p2pdeploy.trust.envelope import signed_part
from p2pdeploy.trust.signing import is_signed
from tests.p2pctl.unconnected import Served, a_view
from tests.p2ptracker.rollout_bench import HELLO, World

WEB_1 = RolloutId("web-1")
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY_S = 86_400.0


def a_rollout(**changes: Any) -> Rollout:
    """An honest ROLLOUT that was asked for just now."""
    plan = a_plan(now=NOW.timestamp())
    rollout = rollout_of(plan, failure_fraction_max=0.1)
    return msgspec.structs.replace(rollout, **{"rollout_id": WEB_1, **changes})


def proposal_of(*rollouts: Rollout) -> RolloutProposal:
    return RolloutProposal(
        rollout=WEB_1, payloads=[encode(r) for r in rollouts], signed_by=[], threshold=2
    )


@dataclass
class LyingControlPlane(ApiClient):
    """Says that web-1 brings version 1, whatever it asks people to sign."""

    folder: Path
    payloads: list[bytes]
    signed: list[ApprovalRequest] = field(default_factory=list)
    state: RolloutState = "unsigned"
    signed_by: list[str] = field(default_factory=list)

    def __exit__(self, *_: object) -> None:
        """There is no connection."""

    def rollout(self, rollout_id: str, *, timeout_s: float = 0) -> RolloutView:
        return a_view(WEB_1, self.state, NOW)

    def rollouts(self, **_: object) -> list[RolloutView]:
        return [self.rollout("latest")]

    def apply_rollout(self, request: RolloutRequest) -> RolloutView:
        return self.rollout("web-1")

    def rollout_proposal(self, rollout_id: str) -> RolloutProposal:
        return RolloutProposal(
            rollout=WEB_1, payloads=self.payloads, signed_by=self.signed_by, threshold=2
        )

    def sign_rollout(self, rollout_id: str, request: ApprovalRequest) -> RolloutView:
        self.signed.append(request)
        return self.rollout(rollout_id)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LyingControlPlane:
    """A control plane that is connected to instead of any."""
    connected = LyingControlPlane(tmp_path, [encode(a_rollout())])
    monkeypatch.setattr(FleetDir, "connect", lambda _: connected)
    return connected


def sign(tmp_path: Path, *more: str) -> tuple[object, ...]:
    return ("rollout", "sign", "web-1", "--key", tmp_path / "my.key", "--dir", tmp_path, *more)


def test_what_is_shown_is_what_is_signed(p2pctl, api, key, tmp_path: Path) -> None:
    done = p2pctl(*sign(tmp_path, "-y"))
    assert done.code == 0, done
    for fact in (NEW.digest, OLD.digest, "web 2", "lab.web.c0", "all its hosts", "0.1 of"):
        assert fact in done.err, fact
    (request,) = api.signed
    message = signed_part(Rollout, api.payloads[0])
    assert (request.key_id, len(request.signatures)) == (key.key_id, 1)
    assert is_signed(key.public_key, message, request.signatures[0])


def test_the_server_shows_one_thing_and_gives_another_to_sign(
    p2pctl, api, key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.payloads = [encode(a_rollout(build=a_build("6.6.6")))]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    asked: list[str] = []
    monkeypatch.setattr(click, "confirm", lambda text, **_: asked.append(text))
    done = p2pctl(*sign(tmp_path, "-o", "json"))
    assert (done.code, done.error_code) == (1, "not-confirmed")
    assert "web 6.6.6" in done.err
    assert a_build("6.6.6").digest in done.err
    assert (len(asked), api.signed) == (1, [])


def test_the_newest_rollout_is_signed_for_when_asked_so(p2pctl, api, key, tmp_path: Path) -> None:
    done = p2pctl(
        "rollout", "sign", "latest", "-y", "--key", tmp_path / "my.key", "--dir", tmp_path
    )
    assert (done.code, len(api.signed)) == (0, 1), done


def test_who_applies_is_told_that_it_waits(p2pctl, api, tmp_path: Path) -> None:
    apply = ("rollout", "apply", "web", "1", "--env", "lab", "--mf", "web", "--dir", tmp_path)
    done = p2pctl(*apply)
    assert done.code == 0, done
    assert "p2pctl rollout sign web-1 --key FILE" in done.err
    assert "unsigned" in done.out


def test_a_key_that_signed_before_is_told_that_it_counts_once(
    p2pctl, api, key, tmp_path: Path
) -> None:
    api.signed_by = [key.key_id]
    done = p2pctl(*sign(tmp_path, "-y"))
    assert done.code == 0
    assert f"has the signature of {key.key_id} already, and counts it once" in done.err
    assert len(api.signed) == 1
    api.signed_by = []
    assert "already" not in p2pctl(*sign(tmp_path, "-y")).err


def test_a_rollout_that_fails_with_the_last_signature_is_told_by_the_exit_code(
    p2pctl, api, key, tmp_path: Path
) -> None:
    api.state = "failed"
    done = p2pctl(*sign(tmp_path, "-y", "-o", "json"))
    assert (done.code, done.document()["state"]) == (1, "failed")


def test_nothing_is_signed_when_nobody_can_be_asked(p2pctl, api, key, tmp_path: Path) -> None:
    done = p2pctl(*sign(tmp_path))
    assert (done.code, api.signed) == (2, [])
    assert "add -y" in done.err


def test_a_key_that_others_can_read_signs_nothing(p2pctl, api, key, tmp_path: Path) -> None:
    (tmp_path / "my.key").chmod(0o644)
    done = p2pctl(*sign(tmp_path, "-y"))
    assert (done.code, api.signed) == (2, []), done


def test_every_named_host_is_shown(p2pctl, api, key, tmp_path: Path) -> None:
    hosts = tuple(HostName(f"h{number}") for number in range(1, 201))
    api.payloads = [encode(a_rollout(target=Target(hosts=hosts), bare=hosts[:1]))]
    shown = p2pctl(*sign(tmp_path, "-y")).err
    assert set(hosts) <= set(shown.replace(",", " ").split())
    assert "go back to nothing: h1" in shown


OTHER_CELL = CellId("lab.web.c1")
LABELS_AND_HOST = Target(environment="lab", machine_function="web", hosts=(HostName("h1"),))
ODD: list[tuple[str, RolloutProposal]] = [
    ("nothing", proposal_of()),
    ("another rollout", proposal_of(a_rollout(rollout_id=RolloutId("web-2")))),
    ("another service", proposal_of(a_rollout(service=ServiceName("bank")))),
    ("a cell twice", proposal_of(a_rollout(), a_rollout())),
    ("other in one cell", proposal_of(a_rollout(), a_rollout(cell=OTHER_CELL, build=OLD))),
    ("for years", proposal_of(a_rollout(expires_at=NOW.timestamp() + 365 * DAY_S))),
    ("expired", proposal_of(a_rollout(expires_at=NOW.timestamp() - 1))),
    ("never expires", proposal_of(a_rollout(expires_at=float("nan")))),
    ("a terminal's escape", proposal_of(a_rollout(build=a_build("2\x1b[2K1")))),
    (
        "a digest that is none",
        proposal_of(a_rollout(baseline=msgspec.structs.replace(OLD, digest="x"))),
    ),
    ("a host that is no name", proposal_of(a_rollout(bare=(HostName("h1\nh2"),)))),
    ("no target", proposal_of(a_rollout(target=Target()))),
    ("two targets", proposal_of(a_rollout(target=LABELS_AND_HOST))),
    (
        "another target than the cell's",
        proposal_of(a_rollout(target=Target(environment="prod", machine_function="web"))),
    ),
    ("everything may fail", proposal_of(a_rollout(failure_fraction_max=1.0))),
    ("no limit", proposal_of(a_rollout(max_unavailable=10**6))),
    ("the last number there is", proposal_of(a_rollout(rollout_seq=2**62))),
    ("no number", proposal_of(a_rollout(rollout_seq=0))),
    ("an endless bake", proposal_of(a_rollout(bake_s=float("inf")))),
    ("a lease of a year", proposal_of(a_rollout(lease_s=365 * DAY_S))),
    (
        "a PLAN",
        RolloutProposal(rollout=WEB_1, payloads=[encode(a_plan().plan)], signed_by=[], threshold=1),
    ),
    ("a name without end", proposal_of(a_rollout(build=a_build("2" * 100_000)))),
    ("no order", RolloutProposal(rollout=WEB_1, payloads=[b"\xc1"], signed_by=[], threshold=1)),
]


def test_an_honest_proposal_of_two_cells_is_read() -> None:
    rollouts = (a_rollout(), a_rollout(cell=OTHER_CELL, max_unavailable=1, baseline=None))
    assert read_proposal(proposal_of(*rollouts), WEB_1, NOW) == rollouts


@pytest.mark.parametrize(("what", "proposal"), ODD, ids=[what for what, _ in ODD])
def test_an_odd_proposal_is_not_signed(what: str, proposal: RolloutProposal) -> None:
    with pytest.raises(TrustError) as refused:
        read_proposal(proposal, WEB_1, NOW)
    assert refused.value.code == "odd-proposal"
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_bytes_that_two_readers_might_read_differently_are_not_signed() -> None:
    plain = msgspec.msgpack.decode(encode(a_rollout()))
    twice = [*plain.items(), ("max_unavailable", 1)]
    payload = bytes([0xDE, 0, len(twice)])
    payload += b"".join(msgspec.msgpack.encode(part) for pair in twice for part in pair)
    assert msgspec.msgpack.decode(payload, type=Rollout).max_unavailable == 1
    proposal = RolloutProposal(rollout=WEB_1, payloads=[payload], signed_by=[], threshold=1)
    with pytest.raises(TrustError):
        read_proposal(proposal, WEB_1, NOW)


async def test_a_version_whose_publishers_signed_other_bytes_is_not_approved(world: World) -> None:
    now = dt.datetime.fromtimestamp(world.now, dt.UTC)
    build = msgspec.structs.replace(NEW, version="2", digest=world.digests[HELLO, "2"])
    honest = a_rollout(service=HELLO, build=build)
    assert check_release(Served(world), honest, now)
    older = msgspec.structs.replace(build, digest=world.digests[HELLO, "1"])
    with pytest.raises(TrustError) as refused:
        check_release(Served(world), a_rollout(service=HELLO, build=older), now)
    assert refused.value.code == "digest-differs"
    nobodys = msgspec.structs.replace(build, version="9")
    with pytest.raises(TrustError):
        check_release(Served(world), a_rollout(service=HELLO, build=nobodys), now)


async def test_without_a_root_of_releases_nothing_is_claimed_to_be_checked(world: World) -> None:
    (world.folder / "ca" / "release-root.json").unlink()
    assert not check_release(Served(world), a_rollout(), NOW)
