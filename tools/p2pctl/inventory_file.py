"""Read hosts from a file that people keep: JSON as in DIR/inventory.json, or CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec

from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import ConfigError, P2PDeployError
from p2pdeploy.ids import cell_id
from p2pdeploy.topology import Host

__all__ = ["read_inventory"]

_FILE_BYTES_MAX = 64 * 1024 * 1024  # 100,000 hosts of 300 bytes, twice
_PORTS = {"gossip_port": "7946", "swarm_port": "6881", "host_port": "7947"}
_NEEDED = ("name", "address", "environment", "machine_function", "fault_domain")
_KNOWN = (*_NEEDED, "cluster", *_PORTS)


def read_inventory(path: Path) -> list[Host]:
    """The hosts of *path*; a name that ends in ``.csv`` is CSV, anything else JSON.

    Raises:
        ConfigError: unreadable, or a line of it is wrong; names the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        if len(data) > _FILE_BYTES_MAX:
            raise ConfigError(f"larger than {_FILE_BYTES_MAX} bytes", where=str(path))
        if path.suffix == ".csv":
            return _from_csv(data.decode(), str(path))
        return msgspec.json.decode(data, type=list[Host])
    except (OSError, *UNDECODABLE) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from error


def _from_csv(text: str, where: str) -> list[Host]:
    rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    columns = rows.fieldnames or []
    lacking = [column for column in _NEEDED if column not in columns]
    strange = [column for column in columns if column not in _KNOWN]
    if lacking or strange:
        raise ConfigError(
            f"no column {lacking[0]!r}" if lacking else f"unknown column {strange[0]!r}",
            where=f"{where}:1",
            hint=f"the columns are {', '.join(_KNOWN)}",
        )
    try:
        return [_host(row, f"{where}:{rows.line_num}") for row in rows]
    except csv.Error as error:
        raise ConfigError(f"not CSV: {error}", where=f"{where}:{rows.line_num}") from error


def _host(row: dict[str, str | None], where: str) -> Host:
    fields = {column: value for column, value in row.items() if value and column in _KNOWN}
    for column in _NEEDED:
        if column not in fields:
            raise ConfigError(f"no {column.replace('_', ' ')}", where=where)
    try:
        cluster = fields.pop("cluster", "c0")
        cell = cell_id(fields["environment"], fields["machine_function"], cluster)
        return msgspec.convert({**_PORTS, **fields, "cell": cell}, Host, strict=False)
    except P2PDeployError as error:
        raise ConfigError(error.message, where=where, hint=error.hint) from error
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=where) from error
