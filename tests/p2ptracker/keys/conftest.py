"""A fleet whose keys are rotated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.p2ptracker.rollout_bench import make_fleet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The fleet's, with every key that ``init`` makes."""
    return make_fleet(tmp_path / "fleet")
