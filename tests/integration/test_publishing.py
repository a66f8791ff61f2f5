"""Publishing to a real registry: killed at any moment, by either side, it is resumed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fleet import CONTROL_PLANE, Fleet, running_fleet
from tests.integration.payloads import write_payload
from tests.integration.waiting import wait_for

pytestmark = pytest.mark.processes

SENT_BYTES = 160 * 1024 * 1024  # takes a publisher long enough to be caught at it
TIGHT_S = 0.002


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A registry, and one host that has nothing to do."""
    with running_fleet(tmp_path_factory.mktemp("fleet") / "dir", 1, 1) as fleet:
        yield fleet


def _begin(fleet: Fleet, service: str, tree: Path) -> subprocess.Popen[bytes]:
    """Begin a publish; return when the registry has some of it on disk."""
    uploads = fleet.folder / "tracker" / "uploads"
    words = fleet.command("publish", service, "1", tree)
    client = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    wait_for(
        lambda: [path.stat().st_size for path in uploads.glob("*/journal")],
        "chunks arrive",
        until=any,
        every_s=TIGHT_S,
    )
    return client


def _nothing_visible(fleet: Fleet, service: str) -> bool:
    return fleet.refused("release", "show", service, "1")["code"] == "no-release"


def test_a_publish_resumes_after_its_client_was_killed(fleet: Fleet, tmp_path: Path) -> None:
    tree = write_payload(tmp_path / "tree", "one", data_bytes=SENT_BYTES)
    client = _begin(fleet, "one", tree)
    client.kill()
    client.communicate(timeout=20)
    assert client.returncode == -9, "the client was caught in the middle"
    assert _nothing_visible(fleet, "one")
    report = fleet.publish("one", "1", tree)
    assert report["state"] == "published"
    assert 0 < report["sent_bytes"] < report["size_bytes"]
    assert report["sent_bytes"] + report["reused_bytes"] == report["size_bytes"]
    shown = fleet.ok("release", "show", "one", "1")
    assert shown["manifest_digest"] == report["manifest_digest"]


def test_a_publish_resumes_after_the_registry_was_killed(fleet: Fleet, tmp_path: Path) -> None:
    tree = write_payload(tmp_path / "tree", "two", data_bytes=SENT_BYTES + 1)
    client = _begin(fleet, "two", tree)
    fleet.kill(CONTROL_PLANE)
    _, errors = client.communicate(timeout=90)
    assert client.returncode == 1
    assert b"Traceback" not in errors
    fleet.start(CONTROL_PLANE)
    assert _nothing_visible(fleet, "two")
    report = fleet.publish("two", "1", tree)
    assert report["state"] == "published"
    assert 0 < report["sent_bytes"] < report["size_bytes"]


def test_the_same_bytes_again_are_fine_and_other_bytes_are_refused(
    fleet: Fleet, tmp_path: Path
) -> None:
    tree = write_payload(tmp_path / "tree", "three")
    first = fleet.publish("three", "1", tree)
    again = fleet.publish("three", "1", tree)
    assert (again["state"], again["sent_bytes"]) == ("already-published", 0)
    (tree / "note").write_text("other bytes")
    assert fleet.refused("publish", "three", "1", tree)["code"] == "version-exists"
    shown = fleet.ok("release", "show", "three", "1")
    assert shown["manifest_digest"] == first["manifest_digest"]


def test_two_publishers_of_one_release_both_succeed(fleet: Fleet, tmp_path: Path) -> None:
    tree = write_payload(tmp_path / "tree", "four", data_bytes=8 * 1024 * 1024)
    words = fleet.command("publish", "four", "1", tree)
    clients = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(2)]
    outs = [client.communicate(timeout=90)[0] for client in clients]
    assert [client.returncode for client in clients] == [0, 0], outs


@pytest.mark.parametrize("fault", ["no-toml", "bad-toml", "other-name", "climbing-link", "pipe"])
def test_a_bad_payload_is_refused_in_one_line(fleet: Fleet, tmp_path: Path, fault: str) -> None:
    tree = write_payload(tmp_path / "tree", "five")
    match fault:
        case "no-toml":
            (tree / "service.toml").unlink()
        case "bad-toml":
            (tree / "service.toml").write_text("[service\n")
        case "other-name":
            write_payload(tree, "six")
        case "climbing-link":
            (tree / "link").symlink_to("../../etc/passwd")
        case _:
            os.mkfifo(tree / "pipe")
    error = fleet.refused("publish", "five", "1", tree)
    assert "\n" not in error["message"]
    assert _nothing_visible(fleet, "five")
