"""libtorrent with its defaults, as a program: seeds, or fetches and says when it is done."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

import libtorrent as lt

_LOOK_MS = 60_000  # it waits for an alert; this only bounds one wait


def main() -> None:
    """``seed`` or ``fetch``, address, folder, torrent, file to write when everything is there."""
    role, address, folder, torrent, done = sys.argv[1:]
    # Alerts of a torrent's state, and none that its defaults would not make.
    settings = {"listen_interfaces": f"{address}:6881", "alert_mask": lt.alert_category.status}
    session = lt.session(cast(Any, settings))
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    if role == "seed":
        params.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(params)
    while not handle.status().is_seeding:
        session.wait_for_alert(_LOOK_MS)
        session.pop_alerts()
    Path(done).write_text(repr(time.time()))
    signal.pause()  # it seeds until it is killed


if __name__ == "__main__":
    main()
