"""What a renewal brought is taken by all who go by it, or by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pdaemon.config import DaemonConfig
from p2pdaemon.take_renewed import RenewedIdentity, swarm_identity
from p2pdeploy.errors import ConfigError
from p2pdeploy.swarm.identity import SwarmIdentity
from p2pdeploy.topology import Host
from p2pdeploy.trust.host_identity import HostIdentity, load_identity
from p2pdeploy.trust.tls import server_context
from tests.p2pdaemon.conftest import host_of
from tests.trust_folder import add_trust, enrol


class Running:
    """A daemon's parts that hear of a renewal: what each took."""

    def __init__(self, config: DaemonConfig) -> None:
        self.identity = load_identity(config.identity_dir, config.name)
        self.context = server_context(self.identity.files, demands_certificate=True)
        self.presented: list[SwarmIdentity] = []
        self.followed: list[HostIdentity] = []
        self.said_again = 0
        self.renewed = RenewedIdentity(config, self.identity.key, [self.context], self, self, self)

    def renew(self, identity: SwarmIdentity) -> None:
        self.presented.append(identity)

    def take_renewed(self, identity: HostIdentity) -> None:
        self.followed.append(identity)

    def say_again(self) -> None:
        self.said_again += 1


@pytest.fixture
def host(config: DaemonConfig) -> Host:
    return host_of(config)


@pytest.fixture
def running(config: DaemonConfig, host: Host, tmp_path: Path) -> Running:
    add_trust(tmp_path / "fleet")
    enrol(tmp_path / "fleet", host, config.identity_dir)
    return Running(config)


async def test_everybody_takes_what_a_renewal_brought(
    running: Running, config: DaemonConfig, host: Host, tmp_path: Path
) -> None:
    enrol(tmp_path / "fleet", host, config.identity_dir)
    fresh = load_identity(config.identity_dir, config.name)
    assert fresh.key.credential != running.identity.key.credential
    await running.renewed.take()
    assert running.identity.key.credential == fresh.key.credential
    assert running.presented == [swarm_identity(fresh)]
    assert [one.swarm_pem for one in running.followed] == [fresh.swarm_pem]
    assert running.said_again == 1


async def test_under_the_same_credential_nothing_is_said_again(running: Running) -> None:
    await running.renewed.take()
    assert len(running.presented) == len(running.followed) == 1
    assert running.said_again == 0


async def test_damaged_files_are_taken_by_nobody(running: Running, config: DaemonConfig) -> None:
    before = running.identity.key.credential
    (config.identity_dir / "order-keys").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="order-keys: damaged"):
        await running.renewed.take()
    assert running.identity.key.credential == before
    assert (running.presented, running.followed, running.said_again) == ([], [], 0)
