"""The daemon's configuration: one TOML file, read once at start.

Every key stands in :class:`DaemonConfig`.  An unknown key is refused: a misspelt limit that is
silently ignored is a limit that is not there.  Relative paths count from the file's own folder.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from p2pdeploy.codec import load_toml
from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.ids import CellId, FaultDomain, HostName, check_label
from p2pdeploy.payload.service_spec import SERVICE_PATH
from p2pdeploy.trust.addresses import require_address

__all__ = ["DaemonConfig", "load_config"]

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]

_CONFIG_BYTES_MAX = 64 * 1024  # a hand-written file of twenty lines; more is not this file


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host's daemon."""

    name: HostName
    """This host, as rosters and the inventory spell it."""
    address: str
    """The address every listener and every outgoing socket of this host binds."""
    environment: str
    machine_function: str
    cell: CellId
    fault_domain: FaultDomain
    gossip_port: Port = 7946
    swarm_port: Port = 6881
    host_port: Port = 7947
    """Where the daemon answers logs, status and metrics."""
    state_dir: Path
    """Journal, staged releases and services; survives the daemon, owned by it alone."""
    api: str
    """The control plane, ``https://ADDRESS:PORT``."""
    identity_dir: Path = Path("identity")
    """Keys and certificates of this host, as ``p2pdaemon join`` writes them."""
    yields: bool = True
    """Whether the swarm slows down while this host's other work waits for processor, memory or
    disk.  Off where several hosts are one machine: each would yield to the others."""
    log_path: Path | None = None
    """The log as JSON lines; none: standard error."""
    service_path: str = SERVICE_PATH
    """PATH of every service; the rest of a service's environment is its own."""
    disk_reserve_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None
    """What no release may take of the disk of ``state_dir``; none: a twentieth, at most 1 GiB."""
    service_users: tuple[str, ...] = ()
    """Accounts that a service.toml may name; a daemon that is root makes its own for the others."""


def load_config(path: Path) -> DaemonConfig:
    """Read and judge *path*.

    Raises:
        ConfigError: unreadable, not TOML, a key unknown, missing or out of range; the text names
            file and key.  Nothing was started.
    """
    config = _convert(_parse(path), path)
    folder = path.resolve().parent
    config = msgspec.structs.replace(
        config,
        state_dir=(folder / config.state_dir).resolve(),
        identity_dir=(folder / config.identity_dir).resolve(),
        log_path=folder / config.log_path if config.log_path else None,
    )
    _check(config, path)
    return config


def _parse(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(_CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > _CONFIG_BYTES_MAX:
        raise ConfigError(f"larger than {_CONFIG_BYTES_MAX} bytes", where=str(path))
    try:
        return load_toml(data)
    except ValueError as error:
        raise ConfigError(f"not TOML: {error}", where=str(path)) from error


def _convert(table: dict[str, object], path: Path) -> DaemonConfig:
    known = DaemonConfig.__struct_fields__
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"unknown key {key!r}",
                where=str(path),
                hint=f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}",
            )
    try:
        return msgspec.convert(table, DaemonConfig, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("$.", ""), where=str(path)) from error


def _path(kind: type, value: object) -> Path:
    if kind is not Path or not isinstance(value, str) or not value or "\x00" in value:
        raise ValueError("expected a path as a string")
    return Path(value)


def _check(config: DaemonConfig, path: Path) -> None:
    require_address(config.address, where=f"{path}: address")
    try:
        check_label(config.name, "host name")
        check_label(config.fault_domain, "fault domain")
    except P2PDeployError as error:
        raise ConfigError(error.message, where=str(path), hint=error.hint) from error
    wanted = f"{config.environment}.{config.machine_function}."
    if not config.cell.startswith(wanted):
        raise ConfigError(f"cell {config.cell!r} must start with {wanted!r}", where=str(path))
    ports = (config.gossip_port, config.swarm_port, config.host_port)
    if len(set(ports)) != len(ports):
        raise ConfigError("gossip_port, swarm_port and host_port must differ", where=str(path))
    _check_api(config.api, f"{path}: api")


def _check_api(api: str, where: str) -> None:
    try:
        url = urlsplit(api)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"{api!r} is no URL: {error}", where=where) from error
    if url.scheme != "https" or not host or not port or url.path.strip("/") or url.username:
        raise ConfigError(f"{api!r} must look like https://ADDRESS:PORT", where=where)
    require_address(host, where=where)
