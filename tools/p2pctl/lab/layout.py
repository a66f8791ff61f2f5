"""The hosts of a fleet on one machine, and the files of its folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from p2pctl.fleet_dir import (
    FLEET_FILE,
    FleetDir,
    FleetFile,
    FleetHost,
    no_fleet,
)
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import FaultDomain, HostName, cell_id, check_label
from p2pdeploy.topology import Host
from p2pdeploy.trust.private_files import make_private_folder, write_private

__all__ = [
    "API_PORT",
    "HOSTS_MAX",
    "INVENTORY_FILE",
    "LOCK_FILE",
    "control_plane_ports",
    "daemon_config",
    "host_ports",
    "is_fleet",
    "laid_out",
    "plan_hosts",
    "prefix_of",
    "read_hosts",
    "write_layout",
]

# Gossip among the hosts of one machine needs a fraction of the default 5 s.
SETTLE_S = 2.0

ENVIRONMENT, MACHINE_FUNCTION = "lab", "web"
API_PORT, ANNOUNCE_PORT, UPLOAD_PORT = 7400, 7401, 7402
GOSSIP_PORT, SWARM_PORT, HOST_PORT = 7946, 6881, 7947
CONTROL_PLANE_OCTET = 1
_FIRST_HOST_OCTET = 10  # .2 to .9 stay free for gateways and second control planes
HOSTS_MAX = 254 - _FIRST_HOST_OCTET + 1

INVENTORY_FILE = "inventory.json"
LOCK_FILE = "lock"  # of the `up` at work
# PATH of services, as p2pdeploy.payload has it; python3 may live elsewhere (pyenv, Nix).
_SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def plan_hosts(prefix: str, host_count: int, fault_domain_count: int) -> list[Host]:
    """Hosts h01, h02... at .10 and up, spread evenly over fd0, fd1... in contiguous runs.

    Raises:
        ConfigError: more fault domains than hosts, or more hosts than a subnet has room for.
    """
    if not 1 <= host_count <= HOSTS_MAX:
        raise ConfigError(f"{host_count} hosts; a fleet here has 1 to {HOSTS_MAX}", where="--hosts")
    if not 1 <= fault_domain_count <= host_count:
        raise ConfigError(
            f"{fault_domain_count} fault domains for {host_count} hosts; each needs a host",
            where="--fault-domains",
        )
    digits = max(2, len(str(host_count)))
    return [
        Host(
            name=HostName(f"h{number + 1:0{digits}d}"),
            address=f"{prefix}.{_FIRST_HOST_OCTET + number}",
            environment=ENVIRONMENT,
            machine_function=MACHINE_FUNCTION,
            cell=cell_id(ENVIRONMENT, MACHINE_FUNCTION),
            fault_domain=FaultDomain(f"fd{number * fault_domain_count // host_count}"),
            gossip_port=GOSSIP_PORT,
            swarm_port=SWARM_PORT,
            host_port=HOST_PORT,
        )
        for number in range(host_count)
    ]


def write_layout(folder: Path, prefix: str, hosts: list[Host]) -> None:
    """Write everything of a new fleet; ``fleet.json`` last, which makes it a fleet."""
    make_private_folder(folder)
    for name in ("hosts", "logs", "run"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    control_plane = f"{prefix}.{CONTROL_PLANE_OCTET}"
    write_private(folder / "tracker.toml", _tracker_toml(control_plane).encode())
    write_private(folder / INVENTORY_FILE, msgspec.json.format(msgspec.json.encode(hosts)))
    api = f"https://{control_plane}:{API_PORT}"
    for host in hosts:
        home = daemon_config(folder, host.name).parent
        home.mkdir(mode=0o700, exist_ok=True)
        write_private(daemon_config(folder, host.name), _daemon_toml(host, api).encode())
    FleetDir(folder).write(
        FleetFile(
            api=api,
            announce=f"https://{control_plane}:{ANNOUNCE_PORT}/announce",
            hosts={
                host.name: FleetHost(
                    address=host.address,
                    swarm_port=host.swarm_port,
                    gossip_port=host.gossip_port,
                    host_port=host.host_port,
                )
                for host in hosts
            },
        )
    )


def is_fleet(folder: Path) -> bool:
    """True when *folder* holds a fleet that was written in full."""
    return (folder / FLEET_FILE).exists()


def read_hosts(folder: Path) -> list[Host]:
    """The hosts of an existing fleet.

    Raises:
        ConfigError: there is no fleet, or its inventory is damaged.
    """
    path = folder / INVENTORY_FILE
    try:
        hosts = msgspec.json.decode(path.read_bytes(), type=list[Host])
    except FileNotFoundError as error:
        raise no_fleet(folder) from error
    except (OSError, *UNDECODABLE) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from error
    for host in hosts:
        _require_name(host.name, path)
    return hosts


def _require_name(name: str, path: Path) -> None:
    """A host's name is a folder's: it must not lead out of ours."""
    try:
        check_label(name, "host name")
    except RefusedError as error:
        raise ConfigError(error.message, where=str(path), hint=error.hint) from error


def laid_out(folder: Path, hosts: list[Host]) -> list[Host]:
    """Those of *hosts* that have a folder here; the others are elsewhere, or still to come."""
    return [host for host in hosts if daemon_config(folder, host.name).exists()]


def prefix_of(hosts: list[Host]) -> str:
    """The first three octets that all *hosts* share."""
    return hosts[0].address.rpartition(".")[0]


def control_plane_ports() -> list[tuple[int, int]]:
    """(last octet, port) of the control plane's listeners."""
    return [(CONTROL_PLANE_OCTET, port) for port in (API_PORT, ANNOUNCE_PORT, UPLOAD_PORT)]


def host_ports(host: Host) -> list[tuple[int, int]]:
    """(last octet, port) of a host's stream listeners."""
    octet = int(host.address.rpartition(".")[2])
    return [(octet, port) for port in (host.gossip_port, host.swarm_port, host.host_port)]


def daemon_config(folder: Path, name: str) -> Path:
    """The daemon's configuration file of host *name*."""
    return folder / "hosts" / name / "daemon.toml"


def _tracker_toml(address: str) -> str:
    return _toml(
        {
            "address": address,
            "api_port": API_PORT,
            "announce_port": ANNOUNCE_PORT,
            "upload_port": UPLOAD_PORT,
            "lab": False,
            "settle_s": SETTLE_S,
        }
    )


def _daemon_toml(host: Host, api: str) -> str:
    # Relative paths count from the file's folder: a fleet's folder may be moved as a whole.
    return _toml(
        {
            "name": host.name,
            "address": host.address,
            "environment": host.environment,
            "machine_function": host.machine_function,
            "cell": host.cell,
            "fault_domain": host.fault_domain,
            "gossip_port": host.gossip_port,
            "swarm_port": host.swarm_port,
            "host_port": host.host_port,
            "state_dir": "state",
            "api": api,
            "service_path": _service_path(),
            "yields": False,  # these hosts are one machine: each would yield to the others
        }
    )


def _toml(values: Mapping[str, str | int | float | bool]) -> str:
    """Flat TOML; a JSON string, number or boolean is a TOML one."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _service_path() -> str:
    if shutil.which("python3", path=_SERVICE_PATH):
        return _SERVICE_PATH
    return f"{_SERVICE_PATH}:{os.path.join(sys.base_prefix, 'bin')}"
