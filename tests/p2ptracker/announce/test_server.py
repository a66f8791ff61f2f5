"""The announce endpoint with public clients, and with those that break HTTP."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import libtorrent as lt
import pytest
import trio

from p2pdeploy import bencode
from p2pdeploy.errors import P2PDeployError

SIZE_BYTES = 300_000


async def say(tracker, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", tracker.ports.announce)
    answer = b""
    async with stream:
        await stream.send_all(request)
        with trio.fail_after(5):
            while data := await stream.receive_some(4096):
                answer += data
                head, _, body = answer.partition(b"\r\n\r\n")
                if body and len(body) >= content_length(head):
                    return answer
    return answer


def content_length(head: bytes) -> int:
    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lines[0].partition(b":")[2])


def reason_of(answer: bytes) -> str:
    body = bencode.decode(answer.partition(b"\r\n\r\n")[2], bytes_max=10**6)
    assert isinstance(body, dict)
    return body[b"failure reason"].decode()  # type: ignore[union-attr]


async def test_bad_requests_get_a_reason_and_the_endpoint_lives_on(tracker) -> None:
    for request_line, status, reason in (
        (b"GET /announce HTTP/1.1", b"200", "left"),
        (b"GET /announce?info_hash=%zz&left=1 HTTP/1.1", b"200", "info_hash"),
        (b"GET /scrape HTTP/1.1", b"200", "info_hash"),
        (b"GET / HTTP/1.1", b"404", "paths"),
        (b"POST /announce HTTP/1.1", b"200", "GET"),
        (b"\x16\x03\x01\x02\x00\x01", b"400", "malformed"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1", b"4", "malformed"),
    ):
        answer = await say(tracker, request_line + b"\r\nHost: tracker\r\n\r\n")
        assert answer.split()[1].startswith(status), request_line
        assert reason in reason_of(answer), request_line
    assert "paths" in reason_of(await say(tracker, b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"))


async def test_a_torrent_that_nobody_published_is_not_tracked(tracker) -> None:
    query = b"info_hash=" + b"x" * 20 + b"&peer_id=" + b"p" * 20 + b"&port=1&left=0"
    answer = await say(tracker, b"GET /announce?" + query + b" HTTP/1.1\r\nHost: t\r\n\r\n")
    assert "not registered" in reason_of(answer)
    text = (await tracker.http.get("/metrics")).text
    assert 'p2p_announce_requests_total{outcome="refused"} 1.0' in text


async def test_a_published_release_is_tracked_under_its_truncated_v2_hash(tracker, payload) -> None:
    view = (await tracker.publish("1.0.0", payload())).json()
    info_hash = bytes.fromhex(view["info_hash_v2"])[:20]
    assert await tracker.plane.may_track(info_hash)


async def test_lab_torrents_are_refused_outside_lab_mode(
    fleet_dir: Path, started, tmp_path: Path
) -> None:
    config = fleet_dir / "tracker.toml"
    config.write_text(config.read_text().replace("lab = true", "lab = false"))
    async with started(fleet_dir) as tracker:
        answer = await tracker.http.post("/v1/lab/torrents", json={"info_hash": "0" * 40})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not-a-lab")
        with pytest.raises(P2PDeployError):
            tracker.plane.lab.add(bytes(20))


def a_v1_torrent(folder: Path, announce: str) -> tuple[bytes, str]:
    """A torrent that every public client reads; returns its file and its info-hash."""
    folder.mkdir()
    data = bytes(range(256)) * (SIZE_BYTES // 256)
    (folder / "data.bin").write_bytes(data)
    files = [lt.create_file_entry("data.bin", len(data))]
    creator = lt.create_torrent(files, 16384, lt.create_torrent.v1_only)
    creator.add_tracker(announce)
    lt.set_piece_hashes(creator, str(folder))
    torrent = lt.bencode(creator.generate())
    info = lt.torrent_info(lt.bdecode(torrent))
    return torrent, str(info.info_hashes().v1)


def a_session(address: str) -> lt.session:
    return lt.session(
        {
            "listen_interfaces": f"{address}:0",
            "outgoing_interfaces": address,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "allow_multiple_connections_per_ip": True,
            "ssrf_mitigation": False,
            "min_reconnect_time": 1,
        }
    )


def a_client(session: lt.session, torrent: bytes, folder: Path) -> lt.torrent_handle:
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(lt.bdecode(torrent))
    params.save_path = str(folder)
    return session.add_torrent(params)


async def wait_until(claim, seconds: float = 20.0) -> None:
    with trio.fail_after(seconds):
        while not claim():  # noqa: ASYNC110 libtorrent and aria2 have no event of ours
            await trio.sleep(0.05)


async def test_two_libtorrent_clients_find_each_other_only_through_us(
    tracker, tmp_path: Path
) -> None:
    announce = f"http://127.0.0.1:{tracker.ports.announce}/announce"
    torrent, info_hash = a_v1_torrent(tmp_path / "seed", announce)
    answer = await tracker.http.post("/v1/lab/torrents", json={"info_hash": info_hash})
    assert answer.status_code == 200, answer.text
    (tmp_path / "leech").mkdir()
    sessions = [a_session("127.88.2.1"), a_session("127.88.2.2")]
    seed = a_client(sessions[0], torrent, tmp_path / "seed")
    await wait_until(lambda: seed.status().is_seeding)
    counted = partial(scrape, tracker, bytes.fromhex(info_hash))
    await wait_for_counts(counted, complete=1)
    leech = a_client(sessions[1], torrent, tmp_path / "leech")
    await wait_until(lambda: leech.status().is_seeding)
    got = (tmp_path / "leech" / "data.bin").read_bytes()
    assert got == (tmp_path / "seed" / "data.bin").read_bytes()
    await wait_for_counts(counted, complete=2)
    for session in sessions:
        session.pause()  # clients announce that they stop
    await wait_for_counts(counted, complete=0)


async def scrape(tracker, info_hash: bytes) -> dict[bytes, int]:
    escaped = "".join(f"%{byte:02x}" for byte in info_hash).encode()
    request = b"GET /scrape?info_hash=" + escaped + b" HTTP/1.1\r\nHost: t\r\n\r\n"
    body = (await say(tracker, request)).partition(b"\r\n\r\n")[2]
    return bencode.decode(body, bytes_max=10**6)[b"files"][info_hash]  # type: ignore[index,return-value]


async def wait_for_counts(counted, *, complete: int) -> None:
    with trio.fail_after(20):
        while (await counted())[b"complete"] != complete:  # noqa: ASYNC110 as above
            await trio.sleep(0.05)


@pytest.mark.skipif(
    not shutil.which("aria2c"), reason="aria2c is not installed: apt-get install aria2"
)
@pytest.mark.processes
async def test_aria2_downloads_through_us(tracker, tmp_path: Path) -> None:
    announce = f"http://127.0.0.1:{tracker.ports.announce}/announce"
    torrent, info_hash = a_v1_torrent(tmp_path / "seed", announce)
    await tracker.http.post("/v1/lab/torrents", json={"info_hash": info_hash})
    session = a_session("127.88.2.3")
    seed = a_client(session, torrent, tmp_path / "seed")
    await wait_until(lambda: seed.status().is_seeding)
    counted = partial(scrape, tracker, bytes.fromhex(info_hash))
    await wait_for_counts(counted, complete=1)
    (tmp_path / "file.torrent").write_bytes(torrent)
    command = ["aria2c", "--seed-time=0", "--enable-dht=false", "--bt-enable-lpd=false"]
    command += ["--enable-peer-exchange=false", "--interface=127.88.2.4", "--no-conf"]
    command += [f"--dir={tmp_path / 'aria'}", str(tmp_path / "file.torrent")]
    with trio.fail_after(30):
        done = await trio.run_process(command, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    got = (tmp_path / "aria" / "data.bin").read_bytes()
    assert got == (tmp_path / "seed" / "data.bin").read_bytes()
    session.pause()  # or its end would wait in this thread for a tracker that runs in this thread
    await wait_for_counts(counted, complete=0)
