"""Payload trees to test with."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pdeploy.ids import ServiceName
from p2pdeploy.payload.build import Built, build

SERVICE_TOML = """\
[service]
name = "hello"

[run]
command = ["python3", "server.py"]

[health]
http = "http://$HOST:$PORT/healthz"
"""

MakeTree = Callable[..., Path]


def bytes_of(seed: int, size_bytes: int) -> bytes:
    """Bytes that look random and are the same in every run."""
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Write a payload: path -> bytes, or -> None for a folder, or -> str for a link's target."""

    def make(files: dict[str, bytes | str | None] | None = None, *, name: str = "payload") -> Path:
        root = tmp_path / name
        root.mkdir()
        (root / "service.toml").write_text(SERVICE_TOML)
        (root / "service.toml").chmod(0o644)
        for path, content in (files or {}).items():
            full = root / path
            full.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                full.mkdir()
            elif isinstance(content, str):
                full.symlink_to(content)
            else:
                full.write_bytes(content)
                full.chmod(0o644)
        for folder in (p for p in root.rglob("*") if p.is_dir() and not p.is_symlink()):
            folder.chmod(0o755)
        return root

    return make


@pytest.fixture
def mixed(make_tree: MakeTree) -> Built:
    """A release of one of everything: big files, small files, an empty one, a link, a folder."""
    root = make_tree(
        {
            "big/model.bin": bytes_of(1, 3_500_000),
            "big.dat": bytes_of(2, 1 << 20),
            "bin/run": b"#!/bin/sh\n",
            "empty": b"",
            "folder/void": None,
            "lib/a": bytes_of(3, 70_000),
            "lib/link": "../bin/run",
        }
    )
    (root / "bin/run").chmod(0o755)
    return build(root, ServiceName("hello"))
