"""daemon.toml: every fault is one clear line that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pdaemon.config import load_config
from p2pdeploy.errors import ConfigError
from p2pdeploy.payload.service_spec import SERVICE_PATH

GOOD = {
    "name": '"h01"',
    "address": '"127.9.9.10"',
    "environment": '"lab"',
    "machine_function": '"web"',
    "cell": '"lab.web.c0"',
    "fault_domain": '"fd0"',
    "state_dir": '"state"',
    "api": '"https://127.9.9.1:7400"',
}


def written(folder: Path, **changes: str) -> Path:
    path = folder / "daemon.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in {**GOOD, **changes}.items()))
    return path


def test_defaults_fill_what_is_not_said_and_paths_count_from_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert (config.gossip_port, config.swarm_port, config.host_port) == (7946, 6881, 7947)
    assert config.state_dir == tmp_path / "state"
    assert config.identity_dir == tmp_path / "identity"
    assert config.service_path == SERVICE_PATH


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gosip_port": "1"}, ["'gosip_port'", "did you mean 'gossip_port'"]),
        ({"gossip_port": '"x"'}, ["gossip_port", "int"]),
        ({"gossip_port": "70000"}, ["gossip_port", "65535"]),
        ({"address": '"0.0.0.0"'}, ["address", "IPv4 address of one machine"]),
        ({"api": '"https://tracker.example:7400"'}, ["api", "IPv4 address of one machine"]),
        ({"api": '"127.0.0.1"'}, ["api", "https://ADDRESS:PORT"]),
        ({"api": '"https://127.0.0.1:x"'}, ["api"]),
        ({"api": '"http://127.0.0.1:7400"'}, ["api", "https://ADDRESS:PORT"]),
        ({"cell": '"prod.web.c0"'}, ["cell", "lab.web."]),
        ({"name": '"../h01"'}, ["host name"]),
        ({"swarm_port": "7946"}, ["must differ"]),
    ],
)
def test_a_bad_value_is_refused_with_its_key(
    tmp_path: Path, changes: dict[str, str], words: list[str]
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    for word in [*words, "daemon.toml"]:
        assert word in str(refused.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('state_dir = "state"\n', ""))
    with pytest.raises(ConfigError, match="state_dir"):
        load_config(path)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"#" * 70_000])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "daemon.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"daemon\.toml"):
        load_config(tmp_path / "daemon.toml")


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "daemon.toml")
