"""A fleet that has published."""

from __future__ import annotations

import pytest

from tests.p2pdeploy.trust.release_fleet import Fleet, release


@pytest.fixture
def fleet() -> Fleet:
    """Two services, one release each."""
    made = Fleet()
    made.publish(release("web", "1.0"))
    made.publish(release("bank", "1.0"), *made.bank[:2])
    return made
