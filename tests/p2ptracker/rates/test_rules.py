"""Which limit counts: a host's own, then its cell's, then its environment's."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import CellId
from p2pdeploy.messages.limits import LimitTarget
from p2pdeploy.messages.rates import UNLIMITED, RateLimit
from p2ptracker.rates.rules import LimitKey, key_of, limits_of_cell, limits_of_host
from p2ptracker.storage.rate_limits import StoredLimit
from tests.p2ptracker.conftest import a_host
from tests.p2ptracker.tracker_bench import CELL

HOSTS = [a_host(number) for number in range(1, 4)]
MB = 1_000_000


def limits(*rows: tuple[str, str, str, int | None]) -> dict[LimitKey, StoredLimit]:
    found = {}
    for scope, name, kind, rate in rows:
        stored = StoredLimit(
            scope=scope,
            name=name,
            kind=kind,
            download_bytes_per_s=rate,
            upload_bytes_per_s=rate,
            set_at=1.0,
        )
        found[LimitKey(scope, name, kind)] = stored
    return found


def both(rate: int) -> RateLimit:
    return RateLimit(download_bytes_per_s=rate, upload_bytes_per_s=rate)


def test_nothing_set_is_unlimited():
    told = limits_of_cell({}, CELL, HOSTS)
    assert (told.uplink, told.each_host, told.hosts) == (UNLIMITED, UNLIMITED, {})


def test_the_cells_own_limit_goes_before_its_environments():
    told = limits_of_cell(
        limits(
            ("environment", "lab/web", "uplink", 9 * MB),
            ("environment", "lab/web", "each-host", 8 * MB),
            ("cell", CELL, "uplink", 7 * MB),
        ),
        CELL,
        HOSTS,
    )
    assert told.uplink == both(7 * MB)
    assert told.each_host == both(8 * MB)


def test_an_unlimited_host_is_free_of_what_its_cell_has():
    told = limits_of_cell(
        limits(("cell", CELL, "each-host", 8 * MB), ("host", "h02", "each-host", None)),
        CELL,
        HOSTS,
    )
    assert told.of_host(HOSTS[0].name) == both(8 * MB)
    assert told.of_host(HOSTS[1].name) == UNLIMITED


def test_a_host_in_another_environment_is_not_concerned():
    others = limits(("environment", "prod/web", "uplink", MB), ("host", "z9", "each-host", MB))
    assert limits_of_cell(others, CELL, HOSTS).uplink == UNLIMITED
    assert limits_of_host(others, HOSTS[0]) == []


def test_what_concerns_a_host_is_listed_first_what_counts():
    known = limits(
        ("environment", "lab/web", "each-host", MB),
        ("host", "h01", "each-host", 2 * MB),
        ("cell", CELL, "uplink", 3 * MB),
    )
    scopes = [limit.scope for limit in limits_of_host(known, HOSTS[0])]
    assert scopes == ["host", "environment", "cell"]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (LimitTarget(), "no-target"),
        (LimitTarget(host="h01", cell=CELL), "no-target"),
        (LimitTarget(environment="lab"), "no-target"),
        (LimitTarget(machine_function="web"), "no-target"),
        (LimitTarget(host="h01", each_host=True), "no-target"),
        (LimitTarget(host="h09"), "unknown-target"),
        (LimitTarget(cell="lab.web.c9"), "unknown-target"),
        (LimitTarget(environment="lab", machine_function="db"), "unknown-target"),
    ],
)
def test_an_unclear_or_unknown_target_is_refused(target: LimitTarget, code: str):
    with pytest.raises(RefusedError) as refused:
        key_of(target, HOSTS)
    assert refused.value.code == code


def test_a_target_is_one_limit():
    assert key_of(LimitTarget(cell=CellId(CELL)), HOSTS) == LimitKey("cell", CELL, "uplink")
    group = LimitTarget(environment="lab", machine_function="web", each_host=True)
    assert key_of(group, HOSTS) == LimitKey("environment", "lab/web", "each-host")
