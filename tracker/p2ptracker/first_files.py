"""The files of a new fleet that people write: what they look like to begin with.

Only an address has to be known.  A file that is there already is its owner's, and stays.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from p2pdeploy.trust.addresses import require_address
from p2pdeploy.trust.private_files import make_private_folder, write_private
from p2ptracker.config import CONFIG_FILE, INVENTORY_FILE

__all__ = ["FLEET_FILE", "HAND_WRITTEN", "missing_files", "write_first_files"]

FLEET_FILE = "fleet.json"  # p2pctl's
HAND_WRITTEN = (CONFIG_FILE, INVENTORY_FILE, FLEET_FILE)

_API_PORT, _ANNOUNCE_PORT = 7400, 7401

_TRACKER_TOML = """\
# What the control plane is told.  A key in a comment stands with its default.

address = "{address}"
# api_port = 7400
# announce_port = 7401
# upload_port = 7402

# Say by multicast DNS where the API is, for hosts that join by a token without an address.
# announce_on_lan = false

# Seconds that a rollout's gate stays open before the first host starts.
# settle_s = 5.0

# debug, info, warning or error
# log_level = "info"
"""


def missing_files(folder: Path) -> list[Path]:
    """Those that *folder* lacks; without them ``p2ptracker run`` or ``p2pctl`` do nothing."""
    return [folder / name for name in HAND_WRITTEN if not (folder / name).exists()]


def write_first_files(folder: Path, address: str) -> list[Path]:
    """Write the missing ones for a control plane at *address*, which has no hosts yet.

    Returns:
        What was written.

    Raises:
        ConfigError: *address* is not the literal IPv4 address of one machine; nothing is written.
        OSError: the folder can't be written.
    """
    require_address(address, where="--address")
    make_private_folder(folder)
    fleet = {
        "api": f"https://{address}:{_API_PORT}",
        "announce": f"https://{address}:{_ANNOUNCE_PORT}/announce",
        "hosts": {},
    }
    texts = {
        CONFIG_FILE: _TRACKER_TOML.format(address=address).encode(),
        INVENTORY_FILE: b"[]\n",  # 'p2pctl enroll token' enters hosts
        FLEET_FILE: msgspec.json.format(msgspec.json.encode(fleet)) + b"\n",
    }
    written = missing_files(folder)
    for path in written:
        write_private(path, texts[path.name])
    return written
