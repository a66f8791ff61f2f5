"""``benchmarks/swarm.py`` as it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lab.rows import FIELDS

from tests.integration.namespaces import why_not

_WHY_NOT = why_not()
SWARM = Path(__file__).resolve().parents[2] / "benchmarks" / "swarm.py"


def swarm(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SWARM, *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        "--hosts 10 --racks 3",
        "--hosts 241",
        "--hosts 0",
        "--mbit nan",
        "--mib x",
        "--vs rsync",
        "--fault fire",
        "--fault cell-cut",
        "--fault domain-gone --cells 2",
    ],
)
def test_what_cannot_be_made_is_one_line_that_names_it(words: str) -> None:
    done = swarm(*words.split())
    assert done.returncode != 0
    assert words.split()[1] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.processes
@pytest.mark.slow
# Nobody but root makes namespaces.  `.ci/run` runs as root; elsewhere the reason is printed.
@pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
def test_each_client_has_a_line_with_the_named_fields() -> None:
    done = swarm("--hosts", 2, "--mbit", 100, "--mib", 4, "--vs", "libtorrent")
    assert done.returncode == 0, done.stderr
    ours, other = map(json.loads, done.stdout.splitlines())
    assert (ours["client"], other["client"]) == ("p2pdeploy", "libtorrent")
    for row in (ours, other):
        assert list(row)[: len(FIELDS)] == [*FIELDS]
        assert (row["hosts"], row["mib"]) == (2, 4)
        assert row["last_x"] >= row["p50_x"] >= 1, "nothing is faster than the network"
        assert row["origin_egress_f"] >= 0.99, "it has to leave the origin once"
