"""Public BitTorrent clients complete a torrent that they know from our announce endpoint alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab.clients import why_not as why_not_client

from tests.integration.namespaces import why_not as why_not_network

_WHY_NOT = why_not_network()
pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    # Nobody but root makes namespaces.  `.ci/run` runs as root; elsewhere the reason is printed.
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COMPLETE_S = 60.0

# Not on loopback, whose addresses transmission takes for nobody's.
RUN = """
import filecmp, sys
from pathlib import Path
from lab.clients import PublicClients, make_torrent
from lab.fleet import running_control_plane
from lab.network import Network
from lab.plan import plan_lab
from lab.world import enter_world
from local_fleet import write_random
enter_world()
client, folder, timeout_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
network = Network(plan_lab(hosts=2, mbit=100))
network.make()
payload, torrent = folder / "seed" / "data.bin", folder / "payload.torrent"
payload.parent.mkdir()
write_random(payload, 2 << 20)
with running_control_plane(folder / "tracker", network) as plane:
    plane.register(make_torrent(payload, 16_384, plane.announce_url, torrent))
    public = PublicClients(client, network, folder, payload, torrent)
    public.seed()
    public.begin()
    public.wait_done(timeout_s)
    for host in network.plan.hosts:
        got = folder / host.name / "data" / payload.name
        print(host.name, filecmp.cmp(got, payload, shallow=False))
    public.end()
"""


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(bool(why_not_client([name])), reason=why_not_client([name])),
        )
        for name in ("aria2", "transmission", "libtorrent")
    ],
)
def test_a_public_client_completes_through_our_announce_endpoint(
    client: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, client, str(tmp_path), str(COMPLETE_S)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["h01", "True", "h02", "True"]
