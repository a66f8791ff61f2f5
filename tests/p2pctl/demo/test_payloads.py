from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from p2pctl.demo.loopback import limit_s
from p2pctl.demo.payloads import (
    DATA_FILE,
    change_data,
    delta_bytes_max,
    find_example,
    generate_data,
    start_tree,
)
from p2pctl.demo.served import NO_ANSWER, ask_versions, reported_versions
from p2pdeploy.errors import ConfigError
from p2pdeploy.ids import ServiceName
from p2pdeploy.messages.api import HostView, ServiceView
from p2pdeploy.payload.build import build
from tests.p2pctl.host_views import a_host

SIZE = 4 * 1024 * 1024 + 12_345


def test_data_is_the_same_for_the_same_seed_and_of_the_size_asked_for(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    generate_data(a, SIZE, 1)
    generate_data(b, SIZE, 1)
    generate_data(c, SIZE, 2)
    assert a.stat().st_size == SIZE
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()


def test_a_change_replaces_two_percent_and_shifts_every_later_byte(tmp_path: Path) -> None:
    path = tmp_path / "data"
    size = 4 * 16 * 1024 * 1024 + 12_345
    generate_data(path, size, 1)
    before = path.read_bytes()
    change_data(path, 2)
    after = path.read_bytes()
    inserted = 4 * 777
    assert len(after) == size + inserted
    assert after[-1000:] == before[-1000:]
    stride, replaced = size // 4, int(size * 0.02) // 4
    kept = [before[n * stride + replaced : (n + 1) * stride] for n in range(3)]
    assert all(part in after for part in kept)
    assert not any(before[n * stride : n * stride + 64] in after for n in range(4))


@pytest.mark.parametrize("data_mib", [1, 2, 4, 8, 16])
def test_a_change_of_little_data_moves_no_more_than_the_story_tells(
    tmp_path: Path, data_mib: int
) -> None:
    tree = tmp_path / "hello"
    start_tree(find_example(None), tree)
    generate_data(tree / DATA_FILE, data_mib * 1024 * 1024, 1)
    before = chunks_in(tree)
    change_data(tree / DATA_FILE, 2)
    after = chunks_in(tree)
    moved = sum(size for digest, size in after.items() if digest not in before)
    assert 0 < moved <= delta_bytes_max(sum(after.values())) < data_mib * 1024 * 1024


def chunks_in(tree: Path) -> dict[bytes, int]:
    """Sizes of the chunks of *tree* by digest."""
    built = build(tree, ServiceName("hello"))
    with built.sources:
        return {
            blob.digests[number * 32 : number * 32 + 32]: size
            for blob in built.chunk_index.blobs
            for number, size in enumerate(blob.sizes_bytes)
        }


def test_a_missing_example_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hello example"):
        find_example(tmp_path)


def test_the_limit_is_what_all_hosts_must_get_over_one_loopback() -> None:
    assert limit_s(bytes_per_host=100, hosts=12, goodput_bytes_per_s=600.0) == 2.0


def test_services_are_asked_themselves_and_silence_is_told() -> None:
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/version" else 404)
            self.end_headers()
            self.wfile.write(b"1.1.0\n")

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"127.0.0.1:{server.server_port}"
        hosts = [_host("h01", address), _host("h02", ""), _host("h03", "127.0.0.1:9")]
        answers = ask_versions(hosts, "hello")
        server.shutdown()
        thread.join()
    assert answers == {"h01": "1.1.0", "h02": NO_ANSWER, "h03": NO_ANSWER}


def test_a_service_that_is_not_healthy_is_reported_by_its_state() -> None:
    hosts = [_host("h01", "x:1"), _host("h02", "x:1", state="failed"), _host("h03", None)]
    assert reported_versions(hosts, "hello") == {"h01": "1.1.0", "h02": "failed", "h03": "absent"}


def _host(name: str, address: str | None, state="healthy") -> HostView:
    services = (
        []
        if address is None
        else [
            ServiceView(
                service="hello", version="1.1.0", state=state, address=address, since=None, age_s=0
            )
        ]
    )
    return a_host(*services, name=name)
