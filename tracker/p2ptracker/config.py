"""What the control plane is told: DIR/tracker.toml and DIR/inventory.json.

::

    DIR/tracker.toml      TrackerConfig
    DIR/inventory.json    a list of p2pdeploy.topology.Host
    DIR/tracker/          everything this program writes: registry.db, store/, uploads/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from p2pdeploy.codec import UNDECODABLE, load_toml
from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.ids import cell_id, check_label
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.topology import Host
from p2pdeploy.trust.addresses import require_address
from p2pdeploy.trust.cell_keys import ROTATION_STEP_WAIT_S
from p2ptracker.announce.lab import require_shut_off

__all__ = ["INVENTORY_FILE", "TrackerConfig", "check_hosts", "load_config", "load_inventory"]

CONFIG_FILE = "tracker.toml"
INVENTORY_FILE = "inventory.json"
# One process keeps a row of facts per host in memory; 100,000 are about 200 MiB.
INVENTORY_HOSTS_MAX = 100_000

_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class TrackerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """DIR/tracker.toml.  Port 0 means any free one and is for tests.

    ``address``: where every listener binds.
    ``announce_on_lan``: say by multicast DNS where the API is, for tokens without an address.
    ``lab``: the announce endpoint serves public clients, which have no certificates, in plain
    HTTP, and tracks v1 torrents registered by ``POST /v1/lab/torrents``; for comparisons, and
    refused where other machines could reach it.  ``announce_interval_s``: how often a client comes
    back; raising it makes peers of a stopped client linger longer.  ``settle_s``: how long a
    rollout's gate stays open before anybody starts, unless the rollout says otherwise.
    ``key_step_s``: how long hosts have to learn of keys in a rotation; they ask
    three times as often, and once a minute at least.
    ``company_ca``: a file of CA certificates whose hosts may join without tokens, from DIR;
    ``company_domain``: their certificates say ``NAME.company_domain``.
    """

    address: str
    api_port: _Port = 7400
    announce_port: _Port = 7401
    upload_port: _Port = 7402
    announce_on_lan: bool = False
    lab: bool = False
    announce_interval_s: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 60
    settle_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 5.0
    key_step_s: Annotated[float, msgspec.Meta(ge=15, le=86_400)] = ROTATION_STEP_WAIT_S
    company_ca: str = ""
    company_domain: str = ""
    log_level: str = "info"


def load_config(folder: Path) -> TrackerConfig:
    """Read DIR/tracker.toml.

    Raises:
        ConfigError: it is missing, or a key is unknown, wrong or out of range; names the key.  Or a
            lab would be open to other machines.
    """
    path = folder / CONFIG_FILE
    try:
        table = load_toml(_read(path))
        config = msgspec.convert(table, TrackerConfig)
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(str(error), where=str(path)) from error
    require_address(config.address, where=f"{path}: address")
    if config.lab:
        require_shut_off(config.address, where=f"{path}: lab")
    _check_company(config, path)
    if config.log_level not in ("debug", "info", "warning", "error"):
        raise ConfigError("log_level is debug, info, warning or error", where=str(path))
    return config


def _check_company(config: TrackerConfig, path: Path) -> None:
    if bool(config.company_ca) != bool(config.company_domain):
        raise ConfigError(
            "company_ca and company_domain need each other",
            where=str(path),
            hint='such as company_ca = "ca/company.pem" and company_domain = "prod.example.com"',
        )
    try:
        for label in config.company_domain.split(".") if config.company_domain else ():
            check_label(label, "DNS domain")
    except P2PDeployError as error:
        where = f"{path}: company_domain"
        raise ConfigError(error.message, where=where, hint=error.hint) from error


def load_inventory(folder: Path) -> tuple[Host, ...]:
    """Read DIR/inventory.json, sorted by name.

    Raises:
        ConfigError: it is missing or malformed, a name or an address occurs twice, or an address
            is not one of a machine.
    """
    path = folder / INVENTORY_FILE
    try:
        hosts = msgspec.json.decode(_read(path), type=list[Host])
    except UNDECODABLE as error:
        raise ConfigError(str(error), where=str(path)) from error
    check_hosts(hosts, where=str(path))
    return tuple(sorted(hosts, key=lambda host: host.name))


def check_hosts(hosts: Sequence[Host], *, where: str) -> None:
    """Raise ConfigError unless *hosts* could be a fleet's inventory; *where* names it."""
    if len(hosts) > INVENTORY_HOSTS_MAX:
        raise ConfigError(f"{len(hosts)} hosts, at most {INVENTORY_HOSTS_MAX}", where=where)
    seen: set[str] = set()
    sizes: Counter[str] = Counter()
    for host in hosts:
        _check_host(host, where)
        for unique in (host.name, host.address):
            if unique in seen:
                raise ConfigError(f"{unique!r} occurs twice", where=where)
            seen.add(unique)
        sizes[host.cell] += 1
    for cell, size in sizes.items():
        if size > CELL_HOSTS_MAX:
            raise ConfigError(f"{size} hosts, at most {CELL_HOSTS_MAX}", where=f"{where}: {cell}")


def _check_host(host: Host, where: str) -> None:
    try:
        check_label(host.name, "host name")
        check_label(host.fault_domain, "fault domain")
        cluster = host.cell.rpartition(".")[2]
        if host.cell != cell_id(host.environment, host.machine_function, cluster):
            raise ConfigError(f"cell {host.cell!r} is of another environment or machine function")
    except P2PDeployError as error:
        raise ConfigError(error.message, where=f"{where}: {host.name}", hint=error.hint) from error
    require_address(host.address, where=f"{where}: {host.name}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}",
            where=str(path),
            hint="'p2pctl up' writes it, and so does 'p2ptracker init DIR --address A'",
        ) from error
