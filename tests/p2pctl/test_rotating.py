"""The owner of an offline key signs the rotation that it asked for, whatever it is shown."""

from __future__ import annotations

import datetime as dt
import io
import stat
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from p2pctl.client import ApiClient
from p2pctl.render.trust import expiring_soon, view_keys
from p2pctl.rotating import renew_document, rotate_key
from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.messages.keys import KeyView, RenewalRequest, RotationAnswer, RotationRequest
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.proposals import Proposal, propose_root, propose_targets
from p2pdeploy.trust.releases.reading import order_keys_of, top_keys_of
from p2pdeploy.trust.releases.repository import (
    Repository,
    accept_targets,
    bundle_for,
    new_repository,
)
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.folder import open_trust
from tests.trust_folder import add_trust

NOW = dt.datetime.now(dt.UTC)
THIEF = SigningKey.generate()


class ControlPlane:
    """Asks for whatever it is told to; it may be stolen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        trust = open_trust(folder)
        self.repository: Repository = new_repository(
            proposal_in(trust.release_root, "root"),
            proposal_in(trust.paths.targets.read_bytes(), "targets"),
            OnlineKeys(snapshot=trust.keys["snapshot"], timestamp=trust.keys["timestamp"]),
            now=NOW,
        )
        self.asks_for: Proposal | None = None
        self.signed: tuple[bytes, ...] = ()

    def rotate_key(self, role: str, request: RotationRequest) -> RotationAnswer:
        return self._answer(role, request.signed)

    def renew_document(
        self, what: str, request: RenewalRequest, *, is_role: bool
    ) -> RotationAnswer:
        return self._answer(what, request.signed)

    def _answer(self, role: str, signed: tuple[bytes, ...]) -> RotationAnswer:
        assert self.asks_for is not None
        self.signed = signed
        if signed:
            return RotationAnswer(role=role, state="done", key_ids=())
        return RotationAnswer(
            role=role,
            state="unsigned",
            key_ids=(),
            proposals=(self.asks_for.to_bytes(),),
            bundle=bundle_for(self.repository, "", root_version=0),
        )

    def targets(self, services: dict[str, RoleKeys] | None = None, **roles: SigningKey) -> None:
        """Ask for targets with other keys of *roles*."""
        keys = {
            role: RoleKeys(threshold=1, public_keys=(k.public_key,)) for role, k in roles.items()
        }
        self.asks_for = propose_targets(
            self.repository.targets,
            order_keys={**order_keys_of(self.repository.targets), **keys},
            services=services or {},
            now=NOW,
        )

    def orders(self, keys: dict[str, RoleKeys], *, without: str = "") -> None:
        """Ask for targets with *keys* of orders beside those in force, and not with *without*."""
        said = {**order_keys_of(self.repository.targets), **keys}
        said.pop(without, None)
        self.asks_for = propose_targets(
            self.repository.targets, order_keys=said, services={}, now=NOW
        )

    def publish(self, keys: dict[str, RoleKeys]) -> None:
        """Have *keys* in force, as the owner of the targets key signed them before."""
        self.orders(keys)
        assert self.asks_for is not None
        trust = open_trust(self.folder)
        owner, online = trust.offline_key("targets"), trust.keys
        assert owner is not None
        signed = proposal_in(sign_file(self.asks_for, owner), "targets")
        keys_online = OnlineKeys(snapshot=online["snapshot"], timestamp=online["timestamp"])
        self.repository = accept_targets(self.repository, signed, keys_online, now=NOW)

    def root(self, **roles: SigningKey) -> None:
        """Ask for a root with other keys of *roles*."""
        keys: Any = {
            role: RoleKeys(threshold=1, public_keys=(key.public_key,))
            for role, key in roles.items()
        }
        top = msgspec.structs.replace(top_keys_of(self.repository.root), **keys)
        self.asks_for = propose_root(self.repository.roots[-1], top, now=NOW)


@pytest.fixture
def plane(tmp_path: Path) -> ControlPlane:
    add_trust(tmp_path)
    return ControlPlane(tmp_path)


def rotate(plane: ControlPlane, role: str, *public: bytes, key: str = "targets") -> RotationAnswer:
    path = plane.folder / "trust" / "keys" / f"{key}.key"
    request = RotationRequest(public_keys=public)
    return rotate_key(cast(ApiClient, plane), role, request, [path])


def finish(plane: ControlPlane, role: str) -> RotationAnswer:
    path = plane.folder / "trust" / "keys" / "targets.key"
    return rotate_key(cast(ApiClient, plane), role, RotationRequest(finish=True), [path])


def test_the_rotation_that_was_asked_for_is_signed(plane: ControlPlane) -> None:
    plane.targets(go=THIEF)
    assert rotate(plane, "go").state == "done"
    assert Proposal.from_bytes(plane.signed[0]).signatures
    plane.root(snapshot=THIEF)
    assert rotate(plane, "snapshot", key="root").state == "done"


def test_a_stolen_control_plane_gets_no_other_role_rotated_in_passing(plane: ControlPlane) -> None:
    plane.targets(go=THIEF, rollout=THIEF)
    with pytest.raises(TrustError, match="more than go"):
        rotate(plane, "go")
    plane.targets({"hello": RoleKeys(threshold=1, public_keys=(THIEF.public_key,))}, go=THIEF)
    with pytest.raises(TrustError, match="more than go"):
        rotate(plane, "go")
    plane.root(snapshot=THIEF, root=THIEF)
    with pytest.raises(TrustError, match="more than snapshot"):
        rotate(plane, "snapshot", key="root")
    assert plane.signed == (), "nothing left this machine"


def test_a_stolen_control_plane_gets_none_of_its_keys_signed_for_those_of_people(
    plane: ControlPlane,
) -> None:
    person = SigningKey.generate()
    plane.targets(rollout=THIEF)
    with pytest.raises(TrustError, match="other keys"):
        rotate(plane, "rollout", person.public_key)
    plane.targets(**{"rollout-next": person})
    assert rotate(plane, "rollout", person.public_key).state == "done"


def people(*keys: SigningKey, threshold: int) -> RoleKeys:
    return RoleKeys(threshold=threshold, public_keys=tuple(key.public_key for key in keys))


def test_a_stolen_control_plane_does_not_lower_the_threshold_that_was_asked_for(
    plane: ControlPlane,
) -> None:
    ann, bob = SigningKey.generate(), SigningKey.generate()
    path = plane.folder / "trust" / "keys" / "targets.key"
    request = RotationRequest(public_keys=(ann.public_key, bob.public_key), threshold=2)
    plane.orders({"rollout-next": people(ann, bob, threshold=1)})
    with pytest.raises(TrustError, match="other keys"):
        rotate_key(cast(ApiClient, plane), "rollout", request, [path])
    plane.orders({"rollout-next": people(ann, bob, threshold=2)})
    assert rotate_key(cast(ApiClient, plane), "rollout", request, [path]).state == "done"


def test_a_stolen_control_plane_gets_no_key_of_its_own_beside_those_of_people(
    plane: ControlPlane,
) -> None:
    person = SigningKey.generate()
    plane.orders(
        {"rollout": people(THIEF, threshold=1), "rollout-next": people(person, threshold=1)}
    )
    with pytest.raises(TrustError, match="other keys"):
        rotate(plane, "rollout", person.public_key)
    assert plane.signed == (), "nothing left this machine"


def test_finishing_leaves_the_role_to_those_who_were_announced(plane: ControlPlane) -> None:
    ann, bob = SigningKey.generate(), SigningKey.generate()
    plane.publish({"rollout-next": people(ann, bob, threshold=2)})
    for others in (people(THIEF, threshold=1), people(ann, bob, threshold=1)):
        plane.orders({"rollout": others}, without="rollout-next")
        with pytest.raises(TrustError, match="other keys"):
            finish(plane, "rollout")
    plane.orders({"rollout": people(ann, bob, threshold=2)})
    with pytest.raises(TrustError, match="other keys"):
        finish(plane, "rollout")  # and yet not finished
    plane.orders({"rollout": people(ann, bob, threshold=2)}, without="rollout-next")
    assert finish(plane, "rollout").state == "done"


def test_finishing_leaves_the_role_to_a_key_that_counted_already(plane: ControlPlane) -> None:
    old, new = order_keys_of(plane.repository.targets)["go"], SigningKey.generate()
    both = RoleKeys(threshold=1, public_keys=(*old.public_keys, new.public_key))
    plane.publish({"go": both})
    plane.orders({"go": people(THIEF, threshold=1)})
    with pytest.raises(TrustError, match="other keys"):
        finish(plane, "go")
    plane.orders({"go": people(new, threshold=1)})
    assert finish(plane, "go").state == "done"


def test_a_renewal_changes_nobodys_keys(plane: ControlPlane) -> None:
    path = plane.folder / "trust" / "keys" / "targets.key"
    plane.targets()
    api = cast(ApiClient, plane)
    assert renew_document(api, "targets", [path], is_role=True).state == "done"
    plane.targets(go=THIEF)
    with pytest.raises(TrustError, match="more than expiry"):
        renew_document(api, "targets", [path], is_role=True)


def test_without_the_offline_key_nothing_is_signed(plane: ControlPlane) -> None:
    plane.targets(go=THIEF)
    with pytest.raises(ConfigError) as refused:
        rotate_key(cast(ApiClient, plane), "go", RotationRequest(), [])
    assert refused.value.code == "no-key"


def test_a_generated_key_has_a_private_half_that_only_its_owner_reads(
    p2pctl, tmp_path: Path
) -> None:
    done = p2pctl("keys", "generate", tmp_path / "ann.key", "-o", "json")
    document = done.document()
    key = SigningKey.from_pem((tmp_path / "ann.key").read_bytes())
    assert stat.S_IMODE((tmp_path / "ann.key").stat().st_mode) == 0o600
    assert document["public_key"] == key.public_key.hex()
    assert (tmp_path / "ann.key.pub").read_text().strip() == key.public_key.hex()
    again = p2pctl("keys", "generate", tmp_path / "ann.key")
    assert again.code == 1
    assert "file already" in again.err


@pytest.mark.parametrize("form", ["file", "hex", "private"])
def test_a_public_key_is_named_by_its_file_its_digits_or_its_private_half(
    tmp_path: Path, form: str
) -> None:
    from p2pctl.delegating import public_key_in

    key = SigningKey.generate()
    write_private(tmp_path / "ann.key", key.to_pem())
    (tmp_path / "ann.key.pub").write_text(f"{key.public_key.hex()}\n")
    text = {
        "file": str(tmp_path / "ann.key.pub"),
        "hex": key.public_key.hex(),
        "private": str(tmp_path / "ann.key"),
    }[form]
    assert public_key_in(text) == key.public_key


@pytest.mark.parametrize("text", ["/etc/passwd", "/nowhere/ann.key", "/etc", "abc"])
def test_what_is_no_public_key_is_told_as_such_and_no_mode_is_advised(text: str) -> None:
    from p2pctl.delegating import public_key_in

    with pytest.raises(ConfigError) as refusal:
        public_key_in(text)
    assert "chmod" not in str(refusal.value)
    assert "OUT.pub" in refusal.value.hint


@pytest.mark.parametrize(("minutes", "words"), [(-1, "rotate rollout --finish"), (1, "next step")])
def test_status_says_that_old_keys_count_until_somebody_finishes(minutes: int, words: str) -> None:
    key = KeyView(
        role="rollout",
        key_ids=("rollout/a",),
        threshold=1,
        place="here",
        belongs="online",
        stolen="",
        state="sealing",
        next_at=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes),
        next_key_ids=("rollout/b",),
    )
    console = Console(width=200, file=io.StringIO())
    console.print(view_keys([key]))
    assert words in cast(io.StringIO, console.file).getvalue()


def test_what_expires_within_a_month_and_needs_people_is_told() -> None:
    def view(role: str, days: int, belongs: str) -> KeyView:
        return KeyView(
            role=role,
            key_ids=("k",),
            threshold=1,
            place="offline",
            belongs=belongs,
            stolen="",
            expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(days=days),
        )

    keys = [
        view("root", 200, "offline"),
        view("targets", 20, "offline"),
        view("timestamp", 1, "online"),
        view("svc/hello", 3, "publisher"),
    ]
    lines = expiring_soon(keys)
    assert [line.split()[0] for line in lines] == ["targets", "svc/hello"]
    assert lines[1].endswith("p2pctl keys renew hello")
