"""The membership table joins beliefs in any order and draws the same members for a seed."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.gossip.members import MemberTable, is_alive, supersedes
from p2pdeploy.ids import HostName
from p2pdeploy.limits import CELL_HOSTS_MAX
from p2pdeploy.messages.gossip import Member, Status
from p2pdeploy.testing.gossip_world import a_member

ME = a_member(1)


@st.composite
def beliefs(draw: st.DrawFn) -> Member:
    return msgspec.structs.replace(
        a_member(draw(st.integers(2, 4))),
        incarnation=draw(st.integers(0, 2)),
        status=draw(st.sampled_from(Status)),
    )


def table_of(told: list[Member]) -> MemberTable:
    table = MemberTable(ME)
    for member in told:
        held = table.get(member.name)
        if held is None or supersedes(member, held):
            table.put(member)
    return table


@given(st.lists(beliefs()), st.randoms())
def test_beliefs_join_to_the_same_table_in_any_order(told: list[Member], rng: Random) -> None:
    shuffled = list(told)
    rng.shuffle(shuffled)
    assert table_of(told).all() == table_of(shuffled + told).all()
    assert table_of(told).digest() == table_of(shuffled).digest()


@given(st.lists(beliefs()), st.lists(beliefs()))
def test_digests_are_equal_exactly_when_tables_are(a: list[Member], b: list[Member]) -> None:
    left, right = table_of(a), table_of(b)
    assert (left.digest() == right.digest()) == (left.all() == right.all())


@given(st.lists(beliefs()))
def test_counts_match_the_members(told: list[Member]) -> None:
    table = table_of(told)
    for status in Status:
        assert table.count(status) == sum(m.status is status for m in table.all())
    assert table.alive_count() == sum(is_alive(m) for m in table.all())


def test_picks_are_different_wanted_never_me_and_repeatable() -> None:
    table = table_of([a_member(n) for n in range(2, 40)])
    wanted = {a_member(n).name for n in range(2, 9)}
    picked = [table.pick(Random(n), 3, lambda m: m.name in wanted) for n in range(50)]
    assert picked == [table.pick(Random(n), 3, lambda m: m.name in wanted) for n in range(50)]
    for members in picked:
        names = {member.name for member in members}
        assert len(names) == 3
        assert names <= wanted
    assert len(table.pick(Random(1), 99, lambda _: True)) == 38
    assert MemberTable(ME).pick(Random(1), 3, lambda _: True) == ()


def test_the_table_is_bounded() -> None:
    table = MemberTable(ME)
    taken = [
        table.put(msgspec.structs.replace(ME, name=HostName(f"x{n}")))
        for n in range(CELL_HOSTS_MAX + 3)
    ]
    assert taken.count(True) == CELL_HOSTS_MAX - 1
    assert len(table) == CELL_HOSTS_MAX
    assert table.put(msgspec.structs.replace(ME, name=HostName("x0"), incarnation=1))
