"""``p2pctl audit verify FILE``: whatever was done to an exported log shows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from p2pdeploy.messages.audit import NOTHING_BEFORE, AuditEntry, ChainEnd, chained


def lines(length: int = 5) -> list[bytes]:
    made: list[bytes] = []
    end = ChainEnd()
    for number in range(length):
        entry = AuditEntry(
            seq=0,
            at=dt.datetime(2026, 5, 1, 12, 0, number, tzinfo=dt.UTC),
            step="refused",
            who="spiffe://lab/operator/ann",
            method="POST",
            path=f"/v1/rollouts/hello-{number}/abort",
            previous=NOTHING_BEFORE,
        )
        entry = chained(entry, end)
        end = ChainEnd(seq=entry.seq, digest=entry.digest)
        made.append(msgspec.json.encode(entry) + b"\n")
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(lines()))
    return path


def test_a_whole_log_is_told_with_its_head(p2pctl, log: Path) -> None:
    done = p2pctl("audit", "verify", log, "-o", "json")
    head = msgspec.json.decode(lines()[-1])["digest"]
    assert (done.code, done.document()) == (0, {"entries": 5, "head": head, "unfinished": 0})
    assert "whole, 5 entries" in p2pctl("audit", "verify", log).out
    assert p2pctl("audit", "verify", log, "--head", head).code == 0


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (lambda made: [made[0].replace(b"ann", b"bob"), *made[1:]], "audit-changed"),
        (lambda made: [made[0].replace(b"}", b',"note":"x"}'), *made[1:]], "audit-changed"),
        (lambda made: [made[0], *made[2:]], "audit-removed"),
        (lambda made: made[1:], "audit-removed"),
        (lambda made: [made[1], made[0], *made[2:]], "audit-removed"),
        (lambda made: [made[0], made[0], *made[1:]], "audit-reordered"),
        (lambda made: [made[0], b"\n", *made[1:]], "audit-changed"),
        (lambda made: [b"\xff\n", *made], "audit-changed"),
        (lambda made: [b"[" * 100_000, *made], "audit-changed"),
        (lambda made: made[:3], "audit-truncated"),
        (lambda _: [], "audit-truncated"),
    ],
)
def test_a_tampered_log_exits_1_with_one_line(p2pctl, log: Path, attack, code: str) -> None:
    noted = msgspec.json.decode(lines()[3])["digest"]
    log.write_bytes(b"".join(attack(lines())))
    done = p2pctl("audit", "verify", log, "--head", noted, "-o", "json")
    assert (done.code, done.error_code) == (1, code)
    assert len(p2pctl("audit", "verify", log, "--head", noted).err.splitlines()) == 1


def test_an_export_that_fails_is_a_document_with_json(p2pctl) -> None:
    done = p2pctl("audit", "export", "-o", "json")
    assert (done.code, done.error_code) == (2, "no-fleet")


def test_a_missing_file_is_a_usage_error(p2pctl, tmp_path: Path) -> None:
    assert p2pctl("audit", "verify", tmp_path / "none").code == 2
    assert p2pctl("audit", "verify").code == 2, "neither a file nor a fleet"
