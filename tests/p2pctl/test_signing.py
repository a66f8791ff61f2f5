"""Who publishes signs: with a look at what it is, and nothing for a stolen control plane."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from p2pctl.client import ApiClient
from p2pctl.signing import ReleaseSigner, read_key
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import ServiceName, Version
from p2pdeploy.messages.signing import ProposalView, SignatureRequest
from p2pdeploy.payload.build import Built, build
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.releases.files import proposal_in, sign_file
from p2pdeploy.trust.releases.keys import OnlineKeys
from p2pdeploy.trust.releases.proposals import propose_release, propose_targets
from p2pdeploy.trust.releases.reading import order_keys_of
from p2pdeploy.trust.releases.release_target import ReleaseTarget
from p2pdeploy.trust.releases.repository import (
    Repository,
    accept_targets,
    bundle_for,
    new_repository,
)
from p2pdeploy.trust.role_keys import RoleKeys
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority.first_documents import first_root
from p2ptracker.authority.folder import RELEASE_ROLES, TrustFolder, TrustPaths, open_trust
from tests.trust_folder import add_trust

HELLO, ONE = ServiceName("hello"), Version("1.0.0")


class StolenControlPlane(ApiClient):
    """Asks for a signature on what the thief likes; has every key that lies with it."""

    def __init__(self, folder: Path, *, publishers: bytes = b"") -> None:
        self.folder = folder
        self.asks_for: ReleaseTarget | None = None
        self.signed: list[SignatureRequest] = []
        self._trust: TrustFolder = open_trust(folder)
        self.now = dt.datetime.now(dt.UTC)
        publisher = SigningKey.from_pem((folder / "operator" / "publisher.key").read_bytes())
        self.publishers = publishers or publisher.public_key
        self.targets_key = read_key(folder / "trust" / "keys" / "targets.key", "targets")

    def propose_release(self, service: str, version: str) -> ProposalView:
        if self.asks_for is None:
            return ProposalView(state="signed")
        proposal = propose_release(None, self.asks_for, keep=(), now=self.now)
        return ProposalView(
            state="pending",
            missing_signatures=1,
            proposal=proposal.to_bytes(),
            bundle=bundle_for(self._repository(), "", root_version=0),
        )

    def bundle(self, service: str = "") -> bytes:
        return bundle_for(self._repository(), "", root_version=0)

    def sign_release(self, service: str, version: str, request: SignatureRequest) -> ProposalView:
        self.signed.append(request)
        return ProposalView(state="signed")

    def _repository(self) -> Repository:
        trust, now = self._trust, self.now
        online = OnlineKeys(snapshot=trust.keys["snapshot"], timestamp=trust.keys["timestamp"])
        targets = trust.paths.targets.read_bytes()
        begun = new_repository(
            proposal_in(trust.release_root, "root"),
            proposal_in(targets, "targets"),
            online,
            now=now,
        )
        keys = RoleKeys(threshold=1, public_keys=(self.publishers,))
        proposal = propose_targets(
            targets, order_keys=order_keys_of(targets), services={HELLO: keys}, now=now
        )
        signed = proposal_in(sign_file(proposal, self.targets_key), "targets")
        return accept_targets(begun, signed, online, now=now)


@pytest.fixture
def built(tmp_path: Path) -> Built:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "service.toml").write_text(
        '[service]\nname = "hello"\n[run]\ncommand = ["true"]\n[health]\ntcp = "$HOST:$PORT"\n'
    )
    made = build(tree, HELLO)
    made.sources.close()
    return made


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    add_trust(tmp_path / "fleet")
    return tmp_path / "fleet"


def target_of(built: Built, version: str = ONE, manifest: bytes = b"") -> ReleaseTarget:
    return ReleaseTarget.of_manifest(
        HELLO, version, manifest or built.manifest_bytes, size_bytes=built.manifest.size_bytes
    )


def test_what_was_published_is_signed(fleet: Path, built: Built) -> None:
    api = StolenControlPlane(fleet)
    api.asks_for = target_of(built)
    signed = ReleaseSigner(api).sign_published(HELLO, ONE, built.manifest_bytes)
    assert signed.state == "signed"
    assert len(api.signed) == 1


@pytest.mark.parametrize("attack", ["other-bytes", "other-version", "other-size"])
def test_a_stolen_control_plane_gets_nothing_else_signed(
    fleet: Path, built: Built, attack: str
) -> None:
    api = StolenControlPlane(fleet)
    api.asks_for = {
        "other-bytes": target_of(built, manifest=b"the thief's"),
        "other-version": target_of(built, "9.9.9"),
        "other-size": msgspec.structs.replace(target_of(built), size_bytes=1),
    }[attack]
    with pytest.raises(TrustError) as refusal:
        ReleaseSigner(api).sign_published(HELLO, ONE, built.manifest_bytes)
    assert refusal.value.code == "release-unknown"
    assert api.signed == []


def test_publishers_that_the_targets_key_did_not_name_are_refused(
    fleet: Path, built: Built
) -> None:
    """The operator's own root says who may sign, and what comes is of another fleet's keys."""
    api = StolenControlPlane(fleet)
    api.asks_for = target_of(built)
    root = TrustPaths(fleet).release_root
    keys = {role: SigningKey.generate(role=role) for role in RELEASE_ROLES}
    root.write_bytes(first_root(keys, now=api.now))  # the fleet that this operator trusts
    with pytest.raises(TrustError):
        ReleaseSigner(api).sign_published(HELLO, ONE, built.manifest_bytes)
    assert api.signed == []


def test_a_key_that_may_not_sign_leaves_the_release_pending_or_is_told(
    fleet: Path, built: Built, tmp_path: Path
) -> None:
    api = StolenControlPlane(fleet, publishers=SigningKey.generate(role="publisher").public_key)
    api.asks_for = target_of(built)
    assert ReleaseSigner(api).sign_published(HELLO, ONE, built.manifest_bytes).state == "pending"
    mine = tmp_path / "mine.key"
    write_private(mine, SigningKey.generate(role="publisher").to_pem())
    with pytest.raises(TrustError) as refusal:
        ReleaseSigner(api, mine).sign_published(HELLO, ONE, built.manifest_bytes)
    assert refusal.value.code == "not-a-publisher"
    assert api.signed == []


def test_a_key_that_may_not_sign_is_told_also_when_all_have_signed(
    fleet: Path, built: Built, tmp_path: Path
) -> None:
    api = StolenControlPlane(fleet)  # that says of everything that it is signed
    wrong = tmp_path / "mine.key"
    write_private(wrong, SigningKey.generate(role="publisher").to_pem())
    with pytest.raises(TrustError) as refusal:
        ReleaseSigner(api, wrong).sign_published(HELLO, ONE, built.manifest_bytes)
    assert refusal.value.code == "not-a-publisher"
    right = fleet / "operator" / "publisher.key"
    for named in (right, None):
        signer = ReleaseSigner(api, named)
        assert signer.sign_published(HELLO, ONE, built.manifest_bytes).state == "signed"


@pytest.mark.processes
def test_a_release_without_a_key_is_pending_until_somebody_signs_it(
    p2pctl, fleet_dir: Path, payload: Path
) -> None:
    key, away = fleet_dir / "operator" / "publisher.key", fleet_dir / "away.key"
    (payload / "more").write_text("of the release that waits")
    publish = ("publish", "hello", "7.0.0", payload, "--dir", fleet_dir)
    name = ("hello", "7.0.0", "--dir", fleet_dir, "-o", "json")
    key.rename(away)
    try:
        report = p2pctl(*publish, "-o", "json")
        assert (report.code, report.document()["release_state"]) == (0, "pending")
        assert "p2pctl release sign hello 7.0.0" in p2pctl(*publish).out
        assert p2pctl("release", "show", *name).document()["state"] == "pending"
        lacking = p2pctl("release", "sign", *name)
        assert lacking.error_code == "no-key"
        refused = p2pctl("rollout", "plan", *name, "--env", "lab", "--mf", "web")
        assert refused.error_code == "release-unsigned", refused
        wrong = p2pctl("release", "sign", *name, "--key", away, "--digest", "ab" * 32)
        assert wrong.error_code == "digest-differs"
        signed = p2pctl("release", "sign", *name, "--key", away)
        assert signed.document()["state"] == "signed", signed
    finally:
        away.rename(key)
    again = p2pctl(*publish, "-o", "json").document()
    assert (again["state"], again["release_state"]) == ("already-published", "signed")


@pytest.mark.processes
def test_the_owner_of_the_targets_key_names_publishers(
    p2pctl, fleet_dir: Path, tmp_path: Path
) -> None:
    pat = tmp_path / "pat.key"
    write_private(pat, SigningKey.generate(role="publisher").to_pem())
    delegate = ("release", "delegate", "bank", "--publisher", pat, "--dir", fleet_dir, "-o", "json")
    refused = p2pctl(*delegate, "--key", pat)
    assert refused.error_code == "release-wrong-key"
    mine = fleet_dir / "operator" / "publisher.key"
    named = p2pctl(
        *(*delegate, "--publisher", mine, "--threshold", "2"),
        *("--key", fleet_dir / "trust" / "keys" / "targets.key"),
    )
    assert named.document()["services"]["bank"] == 2, named


@pytest.mark.processes
def test_when_the_only_publishers_key_was_stolen_another_signs_what_is_kept(
    p2pctl, fleet_dir: Path, payload: Path, tmp_path: Path
) -> None:
    stolen, new = fleet_dir / "operator" / "publisher.key", tmp_path / "new.key"
    write_private(new, SigningKey.generate(role="publisher").to_pem())
    settings = payload / "service.toml"
    settings.write_text(settings.read_text().replace("hello", "vault"))
    options = ("--dir", fleet_dir, "-o", "json")
    for version in ("1.0.0", "6.6.6"):
        (payload / "more").write_text(version)
        published = p2pctl("publish", "vault", version, payload, *options, "--key", stolen)
        assert published.document()["release_state"] == "signed", published

    targets = fleet_dir / "trust" / "keys" / "targets.key"
    delegate = ("release", "delegate", "vault", *options, "--key", targets, "--publisher", new)
    refused = p2pctl(*delegate)
    assert refused.error_code == "needs-signing"
    assert "--keep" in refused.out
    assert p2pctl(*delegate, "--keep", "1.0.0").code == 2
    by_the_thief = p2pctl(*delegate, "--keep", "1.0.0", "--sign-with", stolen)
    assert by_the_thief.code != 0, by_the_thief
    kept = p2pctl(*delegate, "--keep", "1.0.0", "--sign-with", new)
    assert kept.code == 0, kept

    states = [
        p2pctl("release", "show", "vault", version, *options).document()["state"]
        for version in ("1.0.0", "6.6.6")
    ]
    assert states == ["signed", "pending"]
    (payload / "more").write_text("after")
    late = p2pctl("publish", "vault", "7.0.0", payload, *options, "--key", stolen)
    assert late.error_code == "not-a-publisher"
    signed = p2pctl("release", "sign", "vault", "7.0.0", *options, "--key", new)
    assert signed.document()["state"] == "signed", signed
