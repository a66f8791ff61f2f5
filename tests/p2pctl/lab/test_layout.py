from __future__ import annotations

import stat
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from p2pctl.fleet_dir import FleetDir
from p2pctl.lab.layout import (
    HOSTS_MAX,
    daemon_config,
    laid_out,
    plan_hosts,
    read_hosts,
    write_layout,
)
from p2pdaemon.config import load_config as load_daemon_config
from p2pdeploy.errors import ConfigError
from p2ptracker.config import load_config as load_tracker_config
from p2ptracker.config import load_inventory


@pytest.mark.parametrize(("hosts", "domains"), [(12, 3), (7, 3), (1, 1), (245, 10)])
def test_hosts_are_spread_evenly_over_all_fault_domains(hosts: int, domains: int) -> None:
    planned = plan_hosts("127.64.0", hosts, domains)
    counts = Counter(host.fault_domain for host in planned)
    assert len(counts) == domains
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({host.address for host in planned}) == hosts


def test_names_and_addresses_are_as_scripts_expect_them() -> None:
    first, *_, last = plan_hosts("127.64.7", 12, 3)
    assert (first.name, first.address, first.fault_domain) == ("h01", "127.64.7.10", "fd0")
    assert (last.name, last.address, last.fault_domain) == ("h12", "127.64.7.21", "fd2")
    assert first.cell == "lab.web.c0"


@pytest.mark.parametrize(("hosts", "domains"), [(0, 1), (HOSTS_MAX + 1, 1), (2, 3), (2, 0)])
def test_counts_that_cannot_be_are_refused(hosts: int, domains: int) -> None:
    with pytest.raises(ConfigError):
        plan_hosts("127.64.0", hosts, domains)


def test_the_daemon_and_the_control_plane_read_what_up_writes(tmp_path: Path) -> None:
    hosts = plan_hosts("127.64.9", 3, 3)
    folder = tmp_path / "fleet"
    write_layout(folder, "127.64.9", hosts)
    assert load_tracker_config(folder).address == "127.64.9.1"
    assert list(load_inventory(folder)) == hosts == read_hosts(folder)
    for host in hosts:
        config = load_daemon_config(daemon_config(folder, host.name))
        assert (config.name, config.address, config.cell) == (host.name, host.address, host.cell)
        home = daemon_config(folder, host.name).parent
        assert config.identity_dir.resolve() == (home / "identity").resolve()
        assert config.api == "https://127.64.9.1:7400"


def test_everything_written_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    write_layout(folder, "127.64.9", plan_hosts("127.64.9", 2, 1))
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_fleet_json_names_api_announce_and_every_host(tmp_path: Path) -> None:
    write_layout(tmp_path, "127.64.9", plan_hosts("127.64.9", 2, 1))
    fleet = FleetDir(tmp_path).read()
    assert fleet.api == "https://127.64.9.1:7400"
    assert fleet.announce.startswith("https://127.64.9.1:7401/")
    assert set(fleet.hosts) == {"h01", "h02"}
    assert fleet.hosts["h02"].address == "127.64.9.11"
    text = daemon_config(tmp_path, "h01").read_text()
    assert tomllib.loads(text)["swarm_port"] == fleet.hosts["h01"].swarm_port


def test_hosts_that_have_no_folder_here_are_not_ours_to_start(tmp_path: Path) -> None:
    here = plan_hosts("127.64.9", 2, 1)
    write_layout(tmp_path, "127.64.9", here)
    assert laid_out(tmp_path, plan_hosts("127.64.9", 3, 1)) == here
