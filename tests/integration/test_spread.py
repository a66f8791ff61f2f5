"""How a release spread over real hosts: every byte has a source, and the picture can be drawn."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.command_line import P2PCTL
from tests.integration.fleet import Fleet, running_fleet
from tests.integration.payloads import write_payload

pytestmark = pytest.mark.processes

DATA_BYTES = 8 << 20
SOURCES = ("origin", "rack", "cell", "wan", "local")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four hosts in two fault domains, ``web`` 1 deployed."""
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder / "dir", 4, 2) as fleet:
        tree = write_payload(folder / "web", "web", data_bytes=DATA_BYTES)
        fleet.publish("web", "1", tree)
        fleet.roll_out("web", "1")
        yield fleet


def received(metrics: str) -> dict[str, float]:
    """What a daemon counts, by source."""
    line = r'^p2p_swarm_received_bytes_total\{source="(\w+)"\} (\S+)$'
    return {source: float(value) for source, value in re.findall(line, metrics, re.MULTILINE)}


def drawn(fleet: Fleet, path: Path) -> subprocess.CompletedProcess[str]:
    """``swarm plot --file``: the one command that is asked for something else than JSON."""
    words = [P2PCTL, "--dir", fleet.folder, "swarm", "plot", "latest", "--file", path]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_bytes_by_source_add_up_to_the_payload_on_each_host(fleet: Fleet) -> None:
    size_bytes = fleet.ok("release", "show", "web", "1")["size_bytes"]
    assert size_bytes > DATA_BYTES
    totals = dict.fromkeys(SOURCES, 0.0)
    for host in fleet.names():
        counted = received(fleet.host_metrics(host))
        assert tuple(counted) == SOURCES
        assert size_bytes <= sum(counted.values()) <= 1.25 * size_bytes  # the rest came twice
        assert counted["wan"] == counted["local"] == 0
        totals = {source: totals[source] + counted[source] for source in SOURCES}
    assert size_bytes <= totals["origin"] < 4 * size_bytes
    # Which of the two is a matter of looking at a connection before it ends.
    assert totals["rack"] + totals["cell"] >= 2 * size_bytes


def test_the_rollout_says_the_same_of_all_hosts_together(fleet: Fleet) -> None:
    swarm = fleet.ok("rollout", "get", "latest")["swarm"]
    hosts = [received(fleet.host_metrics(host)) for host in fleet.names()]
    assert (swarm["hosts"], swarm["hosts_complete"], swarm["coverage"]) == (4, 4, 1.0)
    assert swarm["p50_s"] <= swarm["last_s"]
    assert swarm["stragglers"] == []
    for source in SOURCES:
        of_hosts = sum(host[source] for host in hosts)  # blocks asked for twice still came in later
        assert swarm["received"].get(source, 0) == pytest.approx(of_hosts, rel=0.05)


def test_the_curve_ends_when_the_last_host_had_everything(fleet: Fleet) -> None:
    spread = fleet.ok("swarm", "plot", "web-1")
    last = spread["points"][-1]
    assert (last["coverage"], last["least"]) == (1.0, 1.0)
    assert last["at_s"] == spread["swarm"]["last_s"]


def test_the_picture_is_written_where_it_was_asked_for(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "spread.svg"
    done = drawn(fleet, path)
    assert (done.returncode, done.stdout) == (0, "")
    assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    nowhere = drawn(fleet, tmp_path / "no" / "spread.svg")
    assert nowhere.returncode == 2
    assert len(nowhere.stderr.splitlines()) == 1
