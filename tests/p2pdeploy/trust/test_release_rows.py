"""A repository is written as named rows, and only what changed."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.private_files import read_private, write_private
from p2pdeploy.trust.releases.rows import changed_rows, from_rows, to_rows
from p2pdeploy.trust.releases.seen import Seen
from tests.p2pdeploy.trust.release_fleet import Fleet, Host, keys, release


def test_rows_give_the_repository_back():
    fleet = Fleet()
    fleet.publish(release("web", "1.0"))
    for _ in range(11):  # root/10 comes after root/9, not after root/1
        fleet.rotate_online(fleet.online)

    assert from_rows(to_rows(fleet.repository)) == fleet.repository


def test_only_what_changed_is_written():
    fleet = Fleet()
    before = fleet.repository
    assert set(changed_rows(None, before)) == {"root/1", "targets", "snapshot", "timestamp"}

    after = fleet.publish(release("web", "1.0"))
    assert set(changed_rows(before, after)) == {"svc/web", "snapshot", "timestamp"}
    fleet.rotate_online(fleet.online)
    assert set(changed_rows(after, fleet.repository)) == {"root/2", "snapshot", "timestamp"}
    assert changed_rows(after, before)["svc/web"] is None
    assert changed_rows(before, before) == {}


def test_changed_rows_applied_to_the_old_ones_are_the_new_ones():
    fleet = Fleet()
    rows: dict[str, bytes] = {}
    before = None
    for version in ("1.0", "2.0", "3.0"):
        for name, document in changed_rows(before, fleet.repository).items():
            assert document is not None
            rows[name] = document
        before = fleet.repository
        fleet.publish(release("web", version))
        fleet.change_publishers("web", keys(1, fleet.web))
    assert before is not None
    assert from_rows(rows) == before


@pytest.mark.parametrize("lost", ["root/1", "targets", "snapshot", "timestamp"])
def test_a_lost_row_is_told(lost: str):
    fleet = Fleet()
    fleet.rotate_online(fleet.online)
    rows = to_rows(fleet.repository)
    del rows[lost]

    with pytest.raises(ConfigError, match=lost):
        from_rows(rows)


def test_what_a_host_saw_survives_its_restart(tmp_path):
    fleet = Fleet()
    fleet.publish(release("web", "1.0"))
    verified = Host(fleet).verify(fleet.bundle(), "1.0")
    write_private(tmp_path / "seen", verified.seen.to_bytes())

    assert Seen.from_bytes(read_private(tmp_path / "seen", hint="join again")) == verified.seen
