"""One fleet for the tests of a module; each test uses services or versions of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fleet import Fleet, running_fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Six hosts in three fault domains, up."""
    with running_fleet(tmp_path_factory.mktemp("fleet") / "dir") as fleet:
        yield fleet
