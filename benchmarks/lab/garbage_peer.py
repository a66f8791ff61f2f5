"""A member of the swarm gone bad: its certificate is good, and every byte it sends is not."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from p2pdaemon.config import DaemonConfig, load_config
from p2pdaemon.own_identity import load_own_identity
from p2pdaemon.take_renewed import swarm_identity
from p2pdeploy.ids import Digest
from p2pdeploy.manifest import Manifest
from p2pdeploy.payload.torrent import piece_count, torrent_bytes
from p2pdeploy.swarm.session import Session


def main() -> None:
    """The host's daemon.toml, its release's manifest and digest, a folder, peers' addresses."""
    config_path, manifest_path, digest, folder, *peers = sys.argv[1:]
    manifest = Manifest.from_bytes(Path(manifest_path).read_bytes())
    paths: dict[str, Path] = {}
    for number, blob in enumerate(manifest.blobs):
        path = paths[blob.path] = Path(folder) / str(number)
        with path.open("wb") as file:
            file.truncate(blob.size_bytes)  # nothing but zeros
    trio.run(lie, load_config(Path(config_path)), manifest, Digest(digest), paths, peers)


async def lie(
    config: DaemonConfig,
    manifest: Manifest,
    digest: Digest,
    paths: dict[str, Path],
    peers: list[str],
) -> None:
    """Offer *paths* as the release to everybody, until killed."""
    identity = swarm_identity(load_own_identity(config))
    torrent = torrent_bytes(manifest, digest, identity.authority_pem)
    async with Session(config.address, config.swarm_port, identity) as session:
        session.admit(peers)
        offer = await session.add(torrent, paths, [True] * piece_count(manifest))
        for peer in peers:
            offer.connect(peer, config.swarm_port)
        print("ready", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    main()
