"""A fleet's folder: where its API is, who its hosts are, and what opens it.

``DIR/fleet.json`` (0600) is stable; scripts read it.  ``DIR/operator/operator.pem`` (0600) is the
key and certificate that ``p2pctl`` presents, ``DIR/ca/fleet.pem`` the authority that it believes.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from p2pdeploy.errors import ConfigError
from p2pdeploy.ids import HostName

if TYPE_CHECKING:
    from p2pctl.client import ApiClient
    from p2pdeploy.trust.tls import IdentityFiles

__all__ = [
    "FOLDER_VARIABLE",
    "FleetDir",
    "FleetFile",
    "FleetHost",
    "no_fleet",
    "open_fleet_dir",
]

FOLDER_VARIABLE = "P2PDEPLOY_DIR"

FLEET_FILE = "fleet.json"
_FLEET_BYTES_MAX = 1024 * 1024  # 245 hosts are 30 KiB


class FleetHost(msgspec.Struct, frozen=True, kw_only=True):
    """Where one host listens."""

    address: str
    swarm_port: int
    gossip_port: int
    host_port: int


class FleetFile(msgspec.Struct, frozen=True, kw_only=True):
    """``fleet.json``: the API and announce URLs, and every host by name."""

    api: str
    announce: str
    hosts: dict[HostName, FleetHost]


class FleetDir(msgspec.Struct, frozen=True):
    """An existing fleet's folder.  Nothing is read before it is asked for."""

    path: Path

    def read(self) -> FleetFile:
        """Read ``fleet.json``.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        path = self.path / FLEET_FILE
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(_FLEET_BYTES_MAX), type=FleetFile)
        except FileNotFoundError as error:
            raise no_fleet(self.path) from error
        except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", where=str(path)) from error

    def write(self, fleet: FleetFile) -> None:
        """Replace ``fleet.json`` in one step."""
        from p2pdeploy.trust.private_files import write_private

        write_private(self.path / FLEET_FILE, msgspec.json.format(msgspec.json.encode(fleet)))

    def identity(self) -> IdentityFiles:
        """What ``p2pctl`` presents to this fleet, and the authority it believes.

        Raises:
            ConfigError: there is no operator's key in the folder, or others can read it.
        """
        from p2pdeploy.trust.private_files import read_private
        from p2pdeploy.trust.tls import IdentityFiles

        certificate = self.path / "operator" / "operator.pem"
        read_private(certificate, hint="an operator's key and certificate belong here")
        return IdentityFiles(
            certificate=certificate, key=certificate, authority=self.path / "ca" / "fleet.pem"
        )

    def connect(self, *, warns: bool = True) -> ApiClient:
        """A client of this fleet's API; close it (it is a context manager).

        Args:
            warns: Say on stderr when our certificate ends soon.
        """
        from p2pctl.client import ApiClient
        from p2pctl.own_certificate import warn_before_expiry

        api, identity = self.read().api, self.identity()
        if warns:
            warn_before_expiry(identity.certificate, now=dt.datetime.now(dt.UTC))
        return ApiClient(api, identity, folder=self.path)


def open_fleet_dir(folder: Path | None) -> FleetDir:
    """Return the fleet's folder; raises ConfigError when none was named."""
    if folder is None:
        raise ConfigError(
            "no fleet named",
            hint=f"use --dir DIR or set {FOLDER_VARIABLE}; 'p2pctl up --dir DIR' makes a fleet",
            code="no-fleet",
        )
    return FleetDir(folder)


def no_fleet(folder: Path) -> ConfigError:
    """The error of every command that was pointed at a folder without a fleet."""
    return ConfigError(
        "there is no fleet in this folder",
        where=str(folder),
        hint=f"'p2pctl up --dir {folder}' makes one",
        code="no-fleet",
    )
