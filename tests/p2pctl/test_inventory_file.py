"""Inventories that people keep: what is read, and how a slip is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from p2pctl.inventory_file import read_inventory
from p2pdeploy.errors import ConfigError

HEAD = "name, address, environment, machine_function, fault_domain"


def a_file(folder: Path, text: str, name: str = "hosts.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    rows = f"{HEAD}, cluster, swarm_port\nh1, 127.0.0.9, prod, web, fd1, c2, 7000\n"
    (host,) = read_inventory(a_file(tmp_path, rows))
    assert (host.name, host.cell, host.swarm_port) == ("h1", "prod.web.c2", 7000)
    text = msgspec.json.encode([host]).decode()
    assert read_inventory(a_file(tmp_path, text, "hosts.json")) == [host]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name, address\nh1, 127.0.0.9\n", "no column 'environment'"),
        (f"{HEAD}, colour\nh1, 127.0.0.9, prod, web, fd1, red\n", "unknown column 'colour'"),
        (f"{HEAD}\nh1, , prod, web, fd1\n", r":2: no address"),
        (f"{HEAD}\nh1, 127.0.0.9, Prod, web, fd1\n", "is not a valid environment"),
        (f"{HEAD}, host_port\nh1, 127.0.0.9, prod, web, fd1, x\n", ":2: "),
        ("", "no column 'name'"),
    ],
)
def test_a_slip_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_inventory(a_file(tmp_path, text))


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"name": "h1"}]', "[" * 10_000])
def test_json_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_inventory(a_file(tmp_path, text, "hosts.json"))
