"""A service keeps its port for as long as nobody else holds it."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from p2pdaemon.services import port as module
from p2pdaemon.services.port import PortChoice, choose_port, kept_port
from p2pdeploy.errors import UnavailableError

OWN = "127.0.0.1"


def choose(path, seed=1, taken=()):
    return choose_port(path, OWN, taken=taken, rng=random.Random(seed))


def hold(port, address=OWN):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen()
    return server


def test_port_is_kept_across_versions(tmp_path):
    first = choose(tmp_path / "port")
    assert first.changed_because == "first use"
    assert choose(tmp_path / "port", seed=2) == PortChoice(port=first.port)
    assert kept_port(tmp_path / "port") == first.port


def test_port_lies_outside_the_range_of_outgoing_connections(tmp_path):
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for seed in range(20):
        port = choose(tmp_path / f"port{seed}", seed).port
        assert not low <= port <= high


@pytest.mark.parametrize("address", [OWN, "0.0.0.0"])
def test_port_held_by_another_process_is_replaced_with_a_reason(tmp_path, address):
    first = choose(tmp_path / "port").port
    with hold(first, address):
        second = choose(tmp_path / "port")
    assert second.port != first
    assert second.changed_because == f"port {first} is held by another process"
    assert choose(tmp_path / "port") == PortChoice(port=second.port)


def test_port_of_another_address_is_free(tmp_path):
    first = choose(tmp_path / "port").port
    with hold(first, "127.0.0.2"):
        assert choose(tmp_path / "port") == PortChoice(port=first)


def test_ports_of_stopped_neighbours_are_not_chosen(tmp_path):
    first = choose(tmp_path / "a", seed=7).port
    assert choose(tmp_path / "b", seed=7, taken={first}).port != first


def test_connections_that_linger_after_a_stop_do_not_cost_the_port(tmp_path):
    """The old version's side of a connection may stay in TIME_WAIT for a minute."""
    first = choose(tmp_path / "port").port
    with hold(first) as server, socket.create_connection((OWN, first)) as client:
        accepted, _ = server.accept()
        accepted.close()  # the server closes first, so the waiting is on its side
        assert client.recv(1) == b""
    assert choose(tmp_path / "port") == PortChoice(port=first)


@pytest.mark.parametrize("text", ["", "abc", "0", "70000", "é"])
def test_unreadable_record_is_replaced(tmp_path, text):
    (tmp_path / "port").write_text(text)
    assert choose(tmp_path / "port").changed_because == "first use"


def test_no_free_port_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_is_free", lambda address, port: False)
    with pytest.raises(UnavailableError, match="no free port between"):
        choose(tmp_path / "port")
