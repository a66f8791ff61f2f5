"""The gossip keys of each cell, kept among the other secrets in ``trust/cells/CELL.keys``."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import ConfigError, ProtocolError
from p2pdeploy.ids import CellId
from p2pdeploy.trust.cell_keys import CELL_KEY_BYTES, CellKeys, first_cell_keys
from p2pdeploy.trust.private_files import make_private_folder, read_private, write_private
from p2ptracker.authority.folder import TrustFolder

__all__ = ["replace_ring", "ring_of"]

_RING_BYTES_MAX = 1_024  # four keys and a name
_making = threading.Lock()
_HINT = "restore it from a backup of the fleet's folder"


def ring_of(trust: TrustFolder, cell: CellId) -> CellKeys:
    """The keys of *cell*; its first ones are made when nobody has asked before.

    Raises:
        ConfigError: the file is damaged, or readable by others.
        OSError: the folder can't be written.
    """
    path = _path(trust, cell)
    if not path.exists():
        with _making:  # two hosts that join at once must get the same
            if not path.exists():
                replace_ring(trust, first_cell_keys(cell, os.urandom(CELL_KEY_BYTES)))
    data = read_private(path, hint=_HINT)
    try:
        return decode(data, CellKeys, bytes_max=_RING_BYTES_MAX)
    except ProtocolError as error:
        raise ConfigError(f"damaged: {error}", where=str(path), hint=_HINT) from error


def replace_ring(trust: TrustFolder, ring: CellKeys) -> None:
    """Keep *ring* as its cell's, durably: the next host that asks gets it."""
    path = _path(trust, ring.cell)
    make_private_folder(path.parent)
    write_private(path, encode(ring))


def _path(trust: TrustFolder, cell: CellId) -> Path:
    return trust.paths.cells / f"{cell}.keys"
