"""libtorrent with its defaults, as a program: seeds, or fetches and says when it is done."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

import libtorrent as lt


def main() -> None:
    """``seed`` or ``fetch``, address, folder, torrent, file to write when everything is there."""
    role, address, folder, torrent, done = sys.argv[1:]
    session = lt.session(cast(Any, {"listen_interfaces": f"{address}:6881"}))
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    if role == "seed":
        params.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(params)
    print("ready", flush=True)
    while not handle.status().is_seeding:
        time.sleep(0.02)  # noqa: TID251 as its users do
    Path(done).write_text(repr(time.time()))
    while True:
        time.sleep(60)  # noqa: TID251 it seeds until it is killed


if __name__ == "__main__":
    main()
