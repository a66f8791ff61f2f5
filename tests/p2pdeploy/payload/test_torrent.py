"""The hand-made torrent is what libtorrent understands, piece for piece."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import libtorrent as lt
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.errors import ProtocolError
from p2pdeploy.ids import ServiceName
from p2pdeploy.manifest import Blob
from p2pdeploy.payload.build import Built, build
from p2pdeploy.payload.paths import path_key
from p2pdeploy.payload.torrent import (
    PieceCheck,
    info_hash_v2,
    piece_count,
    piece_spans,
    torrent_bytes,
)
from p2pdeploy.trust.certificates import new_authority

MIB = 1 << 20


def _load(built: Built) -> lt.torrent_info:
    return lt.torrent_info(lt.bdecode(torrent_bytes(built.manifest, built.manifest_digest)))


def _real_files(info: lt.torrent_info) -> list[tuple[int, str, int, int]]:
    files = info.layout()
    return [
        (i, files.file_path(i), files.file_size(i), files.file_offset(i))
        for i in range(files.num_files())
        if not files.file_flags(i) & lt.file_flags_t.flag_pad_file
    ]


def test_nasty_names_stand_in_the_same_order_in_manifest_and_libtorrent(make_tree) -> None:
    names = [
        "a-b/x",
        "a/x",
        "a.b",
        "a/-",
        "a0",
        "-",
        "ab",
        "a/x-/y",
        "é/z",
        "é-",
        "Z",
        "😀",
        "\uffee",
    ]
    root = make_tree({name: bytes([i]) * (MIB + i) for i, name in enumerate(names)})
    built = build(root, ServiceName("hello"))
    info = _load(built)
    digest = built.manifest_digest
    assert [path for _, path, _, _ in _real_files(info)] == [
        f"{digest}/{blob.path}" for blob in built.manifest.blobs
    ]


def test_pieces_have_libtorrents_numbers_and_sizes(mixed: Built) -> None:
    info = _load(mixed)
    spans = piece_spans(mixed.manifest)
    assert info.num_pieces() == len(spans) == piece_count(mixed.manifest)
    files = _real_files(info)
    for piece_index, span in enumerate(spans):
        _, _, size_bytes, offset_bytes = files[span.blob_index]
        start = piece_index * info.piece_length()
        assert start == offset_bytes + span.offset_bytes
        assert start % info.piece_length() == 0
        left_bytes = size_bytes - span.offset_bytes
        assert span.size_bytes == min(left_bytes, info.piece_length())


def test_every_piece_of_the_sources_verifies_and_no_other_does(mixed: Built) -> None:
    check = PieceCheck(mixed.manifest)
    for piece_index, (blob_index, offset, size) in enumerate(piece_spans(mixed.manifest)):
        data = mixed.sources.pread(blob_index, offset, size)
        assert check.is_right(piece_index, data)
        assert not check.is_right(piece_index, data[:-1])
        assert not check.is_right(piece_index, bytes([data[0] ^ 1]) + data[1:])
        assert not check.is_right(piece_index + 1, data)
    mixed.sources.close()


@pytest.mark.parametrize("piece_index", [-1, 10**9])
def test_a_piece_that_does_not_exist_never_verifies(mixed: Built, piece_index: int) -> None:
    check = PieceCheck(mixed.manifest)
    assert not check.is_right(piece_index, b"x")


def test_info_hash_is_libtorrents(mixed: Built) -> None:
    torrent = torrent_bytes(mixed.manifest, mixed.manifest_digest)
    assert info_hash_v2(torrent) == str(_load(mixed).info_hashes().v2)


def test_the_torrent_is_private_and_v2_only(mixed: Built) -> None:
    info = _load(mixed)
    assert info.priv()
    assert info.info_hashes().has_v2()
    assert not info.info_hashes().has_v1()


def test_libtorrent_finds_every_piece_in_the_tree_on_disk(mixed: Built, tmp_path: Path) -> None:
    """A recheck by libtorrent over files that we lay out ends at 100 %."""
    save = tmp_path / "save"
    for number, blob in enumerate(mixed.manifest.blobs):
        file = save / mixed.manifest_digest / blob.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(mixed.sources.pread(number, 0, blob.size_bytes))
    mixed.sources.close()
    made = lt.create_torrent(
        lt.list_files(str(save / mixed.manifest_digest)),
        mixed.manifest.piece_size_bytes,
        lt.create_torrent.v2_only,
    )
    lt.set_piece_hashes(made, str(save))
    theirs = made.generate()
    ours = lt.bdecode(torrent_bytes(mixed.manifest, mixed.manifest_digest))
    assert ours[b"info"][b"file tree"] == theirs[b"info"][b"file tree"]
    assert ours[b"piece layers"] == theirs[b"piece layers"]


def test_the_whole_info_is_what_libtorrent_makes_for_a_fleet(mixed: Built, tmp_path: Path) -> None:
    """``ssl-cert`` and ``private`` included, byte for byte: one info-hash, whoever derives it."""
    save = tmp_path / "save"
    for number, blob in enumerate(mixed.manifest.blobs):
        file = save / mixed.manifest_digest / blob.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(mixed.sources.pread(number, 0, blob.size_bytes))
    mixed.sources.close()
    authority = new_authority("swarm CA", now=dt.datetime.now(dt.UTC)).pem
    made = lt.create_torrent(
        lt.list_files(str(save / mixed.manifest_digest)),
        mixed.manifest.piece_size_bytes,
        lt.create_torrent.v2_only,
    )
    made.set_root_cert(authority.decode())
    made.set_priv(True)
    lt.set_piece_hashes(made, str(save))
    ours = torrent_bytes(mixed.manifest, mixed.manifest_digest, authority)
    assert lt.bencode(made.generate()[b"info"]) in ours
    assert lt.torrent_info(lt.bdecode(ours)).ssl_cert() == authority.decode()


def test_another_swarm_ca_makes_another_swarm(mixed: Built) -> None:
    one, other = (
        torrent_bytes(mixed.manifest, mixed.manifest_digest, authority)
        for authority in (b"one", b"other")
    )
    assert info_hash_v2(one) != info_hash_v2(other)


@pytest.mark.parametrize("data", [b"", b"le", b"de", b"d4:infoi1ee"])
def test_what_is_no_torrent_has_no_info_hash(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        info_hash_v2(data)


paths = st.lists(st.text("-./a0éZ😀\uffee".replace("/", "")), min_size=1, max_size=3)


@settings(max_examples=200)
@given(paths, paths)
def test_path_order_is_the_order_of_raw_components(one: list[str], other: list[str]) -> None:
    raw = [[name.encode("utf-8", "surrogatepass") for name in p] for p in (one, other)]
    keys = [path_key("/".join(p)) for p in (one, other)]
    assert (keys[0] < keys[1]) == (raw[0] < raw[1])


class CountingBlobs(tuple[Blob, ...]):
    """The blobs of a release that count how many of them are looked at."""

    looked_at = 0

    def __iter__(self):
        for blob in super().__iter__():
            self.looked_at += 1
            yield blob

    def __getitem__(self, index):
        self.looked_at += 1
        return super().__getitem__(index)


def test_judging_a_piece_does_not_walk_over_the_blobs_before_it(mixed: Built) -> None:
    blobs = CountingBlobs(mixed.manifest.blobs)
    check = PieceCheck(msgspec.structs.replace(mixed.manifest, blobs=blobs))
    blobs.looked_at = 0
    spans = piece_spans(mixed.manifest)
    for piece_index in range(len(spans)):
        check.is_right(piece_index, b"x")
    assert blobs.looked_at == len(spans)
    mixed.sources.close()
