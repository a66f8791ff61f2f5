"""What is looked at before anything of a fleet is written or started."""

from __future__ import annotations

from pathlib import Path

from p2pctl.fleet_dir import FleetDir
from p2pctl.lab.layout import (
    INVENTORY_FILE,
    LOCK_FILE,
    daemon_config,
    host_ports,
    prefix_of,
)
from p2pdeploy.codec import load_toml
from p2pdeploy.errors import ConfigError
from p2pdeploy.topology import Host

__all__ = ["require_new_or_ours", "require_startable"]


def require_new_or_ours(folder: Path) -> None:
    """Refuse to lay out a fleet among what somebody else has in *folder*.

    What an ``up`` or ``p2ptracker init`` began and did not finish is ours.

    Raises:
        ConfigError: *folder* holds something, and no fleet.
    """
    if (folder / "trust").is_dir():
        return
    foreign = sorted(path.name for path in folder.iterdir() if path.name != LOCK_FILE)
    if foreign:
        raise ConfigError(
            f"this folder is not empty and holds no fleet; {foreign[0]!r} is in it",
            where=str(folder),
            hint="name a new or an empty folder",
            code="folder-in-use",
        )


def require_startable(folder: Path, hosts: list[Host]) -> None:
    """Read all that starting *hosts* needs, before anything is started.

    Raises:
        ConfigError: a file is missing or damaged, or a host is not on the fleet's subnet.
    """
    fleet = FleetDir(folder)
    fleet.read()
    fleet.identity()
    for path in (folder / "tracker.toml", *(daemon_config(folder, host.name) for host in hosts)):
        try:
            load_toml(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
        except ValueError as error:
            raise ConfigError(f"not TOML: {error}", where=str(path)) from error
    for host in hosts:
        _require_here(host, prefix_of(hosts), f"{folder / INVENTORY_FILE}: {host.name}")


def _require_here(host: Host, prefix: str, where: str) -> None:
    octet = host.address.removeprefix(f"{prefix}.")
    if not octet.isdecimal() or not 1 <= int(octet) <= 254 or not prefix.startswith("127."):
        raise ConfigError(
            f"address {host.address!r} is not on this fleet's subnet {prefix}.0/24", where=where
        )
    if not all(1 <= port <= 65_535 for _, port in host_ports(host)):
        raise ConfigError("a port is between 1 and 65535", where=where)
