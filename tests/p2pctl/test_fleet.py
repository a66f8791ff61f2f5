"""Services, versions and routes, against a control plane in this process."""

from __future__ import annotations

import random
import re
from pathlib import Path


def test_a_service_that_nobody_published_is_one_clear_line(p2pctl, fleet: Path) -> None:
    for order in (("versions", "nosuch"), ("where", "nosuch", "1.0.0")):
        done = p2pctl("fleet", *order, "--dir", fleet)
        assert (done.code, done.out) == (1, "")
        assert len(done.err.splitlines()) == 1
        assert "no service 'nosuch'" in done.err


def test_one_that_is_published_and_runs_nowhere_is_counted(
    p2pctl, fleet: Path, payload: Path
) -> None:
    assert p2pctl("publish", "hello", "1.0.0", payload, "--dir", fleet).code == 0
    done = p2pctl("fleet", "versions", "hello", "--dir", fleet, "-o", "json")
    assert (done.code, done.document()["versions"]) == (0, {})
    assert p2pctl("fleet", "where", "hello", "1.0.0", "--dir", fleet).code == 0


def test_a_first_publish_calls_nothing_known_that_only_stands_in_it_twice(
    p2pctl, fleet: Path, payload: Path
) -> None:
    bytes_twice = random.Random(7).randbytes(3 * 1024 * 1024)
    for name in ("one", "two"):
        (payload / name).write_bytes(bytes_twice)
    order = ("publish", "hello", "2.0.0", payload, "--dir", fleet)
    shown = p2pctl(*order).out
    assert "3 MiB stand in it more than once" in shown
    assert re.search(r"\d+ B known already", shown), "a file of 1.0.0 at most"
    report = p2pctl("publish", "hello", "2.0.1", payload, "--dir", fleet, "-o", "json").document()
    assert report["repeated_bytes"] == len(bytes_twice)
    assert report["reused_bytes"] == report["size_bytes"], "the registry had all of it by then"


def test_the_matrix_lists_each_call_as_it_is_made(p2pctl, fleet: Path) -> None:
    paths = [
        row["path"] for row in p2pctl("auth", "matrix", "--dir", fleet, "-o", "json").document()
    ]
    assert "/v1/openapi.json" in paths
    assert not [path for path in paths if path.startswith("/v1/openapi.json/")]
    assert "/v1/rollouts/{rollout}/hosts" in paths
