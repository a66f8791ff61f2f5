"""The chain of the audit log: whatever is done to it shows."""

from __future__ import annotations

import datetime as dt
import random

import msgspec
import pytest

from p2pdeploy.errors import IntegrityError
from p2pdeploy.messages.audit import NOTHING_BEFORE, AuditEntry, ChainEnd, chained, follow_chain

AT = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def a_log(length: int = 8) -> list[AuditEntry]:
    """Calls of ann, one after the other: each begun and done."""
    entries: list[AuditEntry] = []
    end = ChainEnd()
    for number in range(1, length + 1):
        is_done = number % 2 == 0
        entry = AuditEntry(
            seq=0,
            at=AT + dt.timedelta(milliseconds=number),
            step="done" if is_done else "begun",
            of=number - 1 if is_done else 0,
            who="spiffe://lab/operator/ann",
            method="POST",
            path=f"/v1/rollouts/hello-{number}/abort",
            status=200 if is_done else 0,
            previous=NOTHING_BEFORE,
        )
        entries.append(chained(entry, end))
        end = ChainEnd(seq=number, digest=entries[-1].digest)
    return entries


def refused_code(entries: list[AuditEntry], head: str = "") -> str:
    with pytest.raises(IntegrityError) as caught:
        follow_chain(entries, head=head)
    return caught.value.code


def test_an_untouched_log_is_whole_also_as_json_lines() -> None:
    log = a_log()
    read = [msgspec.json.decode(msgspec.json.encode(entry), type=AuditEntry) for entry in log]
    assert follow_chain(read) == ChainEnd(seq=8, digest=log[-1].digest)
    assert follow_chain([]) == ChainEnd()


def test_every_changed_field_shows() -> None:
    other = {
        "at": AT,
        "who": "spiffe://lab/operator/bob",
        "serial": "A1",
        "path": "/v1/rollouts/hello-3/pause",
        "status": 503,
        "code": "x",
        "parameters": "{}",
        "body_digest": "ab",
    }
    for field, value in other.items():
        log = a_log()
        log[3] = msgspec.structs.replace(log[3], **{field: value})
        assert refused_code(log) == "audit-changed", field


def test_a_changed_entry_with_a_digest_made_anew_shows_at_the_next() -> None:
    log = a_log()
    before = ChainEnd(seq=3, digest=log[2].digest)
    log[3] = chained(msgspec.structs.replace(log[3], who="spiffe://lab/operator/bob"), before)
    assert refused_code(log) == "audit-inserted"


def test_a_removed_entry_shows() -> None:
    for position in range(7):
        log = a_log()
        del log[position]
        assert refused_code(log) == "audit-removed"


def test_an_inserted_entry_shows() -> None:
    for position in range(8):
        log = a_log()
        before = ChainEnd(
            seq=position, digest=log[position - 1].digest if position else NOTHING_BEFORE
        )
        log.insert(position, chained(msgspec.structs.replace(log[0], who="x"), before))
        assert refused_code(log) in ("audit-reordered", "audit-inserted")


def test_reordered_entries_show() -> None:
    rng = random.Random(7)
    for _ in range(30):
        log = a_log()
        shuffled = rng.sample(log, len(log))
        if shuffled != log:
            assert refused_code(shuffled) in ("audit-removed", "audit-reordered")
    log = a_log()
    assert refused_code([log[0], *log]) == "audit-reordered"


def test_a_truncated_log_shows_against_a_noted_head() -> None:
    log = a_log()
    noted = log[5].digest
    assert follow_chain(log, head=noted).seq == 8, "it has grown since"
    assert follow_chain(log[:6], head=noted).seq == 6
    assert follow_chain(log[:5]).seq == 5, "nothing else could tell"
    assert refused_code(log[:5], head=noted) == "audit-truncated"
    assert refused_code([], head=noted) == "audit-truncated"


def test_a_log_written_anew_shows_against_a_noted_head() -> None:
    noted = a_log()[5].digest
    end, anew = ChainEnd(), list[AuditEntry]()
    for entry in a_log():
        anew.append(chained(msgspec.structs.replace(entry, who="x"), end))
        end = ChainEnd(seq=anew[-1].seq, digest=anew[-1].digest)
    assert follow_chain(anew).seq == 8
    assert refused_code(anew, head=noted) == "audit-truncated"


def test_a_crash_in_the_middle_of_a_call_is_counted() -> None:
    assert follow_chain(a_log(7)).unfinished == 1
