"""Logs stay bounded and readable while a service holds them open."""

from __future__ import annotations

import os

import pytest

from p2pdaemon.services.logs import rotate, tail

ALL = {"lines_max": 1_000, "bytes_max": 1_000_000}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "out.log"


def test_small_or_missing_log_is_left_alone(log):
    assert not rotate(log, above_bytes=10)
    log.write_bytes(b"0123456789")
    assert not rotate(log, above_bytes=10)
    assert os.listdir(log.parent) == ["out.log"]


def test_service_goes_on_writing_into_the_same_file(log):
    service = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(service, b"before the rotation\n")
    assert rotate(log, above_bytes=10) is True
    os.write(service, b"after\n")
    os.close(service)
    assert log.read_bytes() == b"after\n"  # no hole: appended at the new end
    assert tail(log, **ALL)[-1] == "after"


def test_three_older_parts_are_kept(log):
    for number in range(6):
        log.write_text(f"part {number}\n")
        assert rotate(log, above_bytes=6)
    names = sorted(os.listdir(log.parent))
    assert names == ["out.log", "out.log.1", "out.log.2", "out.log.3"]
    assert [(log.parent / name).read_text() for name in names] == [
        "",
        "art 5\n",
        "art 4\n",
        "art 3\n",
    ]


def test_log_that_outgrew_its_limit_keeps_its_newest_part_only(log):
    log.write_bytes(b"x" * 5_000 + b"newest")
    rotate(log, above_bytes=1_000)
    kept = (log.parent / "out.log.1").read_bytes()
    assert (len(kept), kept[-6:], log.stat().st_size) == (1_000, b"newest", 0)


def test_a_writer_faster_than_the_copy_does_not_keep_it_going(log, monkeypatch):
    log.write_bytes(b"x" * 1_001)
    pread = os.pread

    def write_and_pread(descriptor: int, size_bytes: int, offset_bytes: int) -> bytes:
        with log.open("ab") as file:
            file.write(b"y" * 400)
        assert log.stat().st_size < 100_000, "it goes on for ever"
        return pread(descriptor, min(size_bytes, 300), offset_bytes)

    monkeypatch.setattr(os, "pread", write_and_pread)
    assert rotate(log, above_bytes=1_000)
    assert (log.parent / "out.log.1").stat().st_size == 2_000
    assert log.stat().st_size == 0


def test_rotation_that_died_half_way_is_finished_by_the_next(log):
    log.write_bytes(b"content of the log\n")
    (log.parent / "out.log.new").write_bytes(b"half a co")
    rotate(log, above_bytes=18)
    assert sorted(os.listdir(log.parent)) == ["out.log", "out.log.1"]
    assert (log.parent / "out.log.1").read_bytes() == b"ontent of the log\n"


def test_log_behind_a_symbolic_link_is_not_truncated(log, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"x" * 100)
    log.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        rotate(log, above_bytes=10)
    assert victim.stat().st_size == 100


def test_tail_reads_across_parts_in_order(log):
    (log.parent / "out.log.2").write_text("a\nb\n")
    (log.parent / "out.log.1").write_text("c\nd\n")
    log.write_text("e\nunfinished")
    assert tail(log, **ALL) == ["a", "b", "c", "d", "e", "unfinished"]
    assert tail(log, lines_max=3, bytes_max=1_000) == ["d", "e", "unfinished"]
    assert tail(log, lines_max=0, bytes_max=1_000) == []


def test_line_across_two_parts_is_one_line(log):
    (log.parent / "out.log.1").write_text("first\nbroken in ")
    log.write_text("two\n")
    assert tail(log, lines_max=1, bytes_max=1_000) == ["broken in two"]


@pytest.mark.parametrize(
    ("bytes_max", "lines"),
    [(11, ["ddddd"]), (12, ["ccccc", "ddddd"]), (13, ["ccccc", "ddddd"]), (3, [])],
)
def test_only_whole_lines_within_the_bytes_are_given(log, bytes_max, lines):
    (log.parent / "out.log.1").write_text("aaaaa\nbbbbb\n")
    log.write_text("ccccc\nddddd\n")
    assert tail(log, lines_max=100, bytes_max=bytes_max) == lines


def test_missing_log_has_no_lines(log):
    assert tail(log, **ALL) == []


def test_bytes_that_could_harm_a_terminal_are_shown_as_escapes(log):
    log.write_bytes(b"\x1b[2Jgone\tok\r\nb\xffd \xc3\xa9 \xe2\x80\xae\n")
    assert tail(log, **ALL) == ["\\x1b[2Jgone\tok", "b\\xffd é \\u202e"]
