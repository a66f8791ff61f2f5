"""A new fleet's trust folder: what is made, who can read it, and what it is good for."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.testing.orders import a_plan, a_word
from p2pdeploy.topology import Host
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.host_identity import load_identity, save_identity
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.releases.verify import first_seen
from p2pdeploy.trust.signing import SigningKey
from p2pdeploy.trust.tls import client_context, is_control_plane, server_context
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.first_documents import read_publishers
from p2ptracker.authority.folder import TrustPaths, open_trust
from p2ptracker.authority.issue import issue_host, refresh_control_plane
from tests.trust_folder import first_orders

NOW = dt.datetime.now(dt.UTC)
PLAN = a_plan()
WORD = msgspec.structs.replace(a_word("h1", 4, Rank.HEALTHY), epoch=1 << 32)
HOST = Host(
    name=HostName("h1"),
    address="127.0.0.10",
    environment="lab",
    machine_function="web",
    cell=CellId(WORD.cell),
    fault_domain=FaultDomain(WORD.fault_domain),
    gossip_port=7946,
    swarm_port=6881,
    host_port=7947,
)


def test_everything_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    create_trust(tmp_path / "fleet", "lab", now=NOW)
    made = list((tmp_path / "fleet").rglob("*"))
    assert len(made) > 12
    for path in (*made, tmp_path / "fleet"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_was_made_opens_again(tmp_path: Path) -> None:
    made = create_trust(tmp_path, "lab", now=NOW)
    opened = open_trust(tmp_path)
    assert opened.bundle() == made.bundle()
    order = seal(PLAN.plan, opened.keys["deployer"])
    assert open_envelope(order, FleetVerifier(first_orders(made).orders)) == PLAN.plan


def test_a_fleet_that_has_keys_keeps_them(tmp_path: Path) -> None:
    before = create_trust(tmp_path, "lab", now=NOW).bundle()
    with pytest.raises(RefusedError, match="has its keys already"):
        create_trust(tmp_path, "lab", now=NOW)
    assert open_trust(tmp_path).bundle() == before


def test_an_interrupted_init_is_made_anew(tmp_path: Path) -> None:
    create_trust(tmp_path, "lab", now=NOW)
    TrustPaths(tmp_path).about.unlink()
    assert create_trust(tmp_path, "lab", now=NOW).fleet == "lab"


def test_an_interrupted_init_leaves_no_drafts_of_keys_behind(tmp_path: Path) -> None:
    create_trust(tmp_path, "lab", now=NOW)
    paths = TrustPaths(tmp_path)
    paths.about.unlink()
    for key in (paths.fleet_ca_key, paths.key("go"), paths.operator):
        key.with_name(f".{key.name}.00c0ffee").write_bytes(b"half a key")
    theirs = paths.trust / ".notes"
    theirs.touch()
    create_trust(tmp_path, "lab", now=NOW)
    assert list(tmp_path.rglob(".*")) == [theirs]


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    create_trust(tmp_path, "lab", now=NOW)
    TrustPaths(tmp_path).key("go").chmod(0o644)
    with pytest.raises(ConfigError, match="others than its owner"):
        open_trust(tmp_path)


def test_without_init_nothing_opens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="p2ptracker init"):
        open_trust(tmp_path)


def test_a_host_that_was_issued_an_identity_speaks_for_itself(tmp_path: Path) -> None:
    trust = create_trust(tmp_path, "lab", now=NOW)
    key, keys = new_attestation_key(HOST.name), new_leaf_keys()
    issued = issue_host(trust, HOST, key.public_key, keys.requests, now=NOW)
    key.credential = issued.credential
    known = first_orders(trust)
    save_identity(tmp_path / "identity", key, keys.fleet_pem, keys.swarm_pem, issued, known)
    identity = load_identity(tmp_path / "identity", "h1")
    word = seal(WORD, identity.key)
    assert open_envelope(word, FleetVerifier(identity.known_orders.orders)) == WORD
    client_context(identity.files, is_control_plane, who="the control plane")


def test_the_control_planes_identity_is_usable(tmp_path: Path) -> None:
    trust = create_trust(tmp_path, "lab", now=NOW)
    refresh_control_plane(trust, "127.0.0.1", now=NOW)
    server_context(trust.paths.control_plane_files(), demands_certificate=True)
    client_context(trust.paths.operator_files(), is_control_plane, who="the control plane")


def test_a_new_fleet_has_a_publisher_and_a_root_of_releases(tmp_path: Path) -> None:
    trust = create_trust(tmp_path, "lab", now=NOW)
    publisher = SigningKey.from_pem(trust.paths.publisher_key.read_bytes(), role="publisher")
    assert read_publishers(trust.paths.publishers).public_keys == (publisher.public_key,)
    assert open_trust(tmp_path).bundle().release_root == trust.paths.release_root.read_bytes()
    first_seen(trust.release_root)  # judges it


@pytest.mark.parametrize(
    "text", ["", "threshold = 2\nkeys = ['00']", "threshold = 1\nkeys = 5", "threshold ="]
)
def test_publishers_that_nobody_can_be_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "publishers.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        read_publishers(path)
