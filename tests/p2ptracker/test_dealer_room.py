"""Nobody has dealers of others dropped by opening many of its own."""

from __future__ import annotations

from p2pdeploy.ids import Digest
from p2ptracker.dealer_room import DealerKey, OpenDealer, dealers_to_drop

GREEDY, MODEST, NEW = "lab.greedy", "lab.modest", "lab.new"


def key_of(number: int, target: str) -> DealerKey:
    return Digest(f"{number:064x}"), target


def dealer(number: int, target: str, used_at: float) -> OpenDealer:
    return OpenDealer(key_of(number, target), used_at)


def test_while_there_is_room_only_idle_ones_go():
    idle, used = dealer(1, MODEST, 10.0), dealer(2, MODEST, 11.0)
    assert dealers_to_drop([idle, used], NEW, open_max=3, idle_since=10.0) == [idle.key]


def test_of_the_target_with_the_most_the_longest_unused_goes():
    one = dealer(0, MODEST, 1.0)
    many = [dealer(number, GREEDY, float(number + 5)) for number in range(3)]
    assert dealers_to_drop([*many, one], NEW, open_max=4, idle_since=0.0) == [many[0].key]


def test_who_has_many_makes_room_for_its_own():
    others = [dealer(number, f"lab.c{number}", 1.0) for number in range(3)]
    mine = [dealer(9, GREEDY, 5.0)]
    assert dealers_to_drop([*others, *mine], GREEDY, open_max=4, idle_since=0.0) == [mine[0].key]


def test_among_equals_the_longest_unused_goes():
    ones = [dealer(number, f"lab.c{number}", float(number)) for number in range(4)]
    assert dealers_to_drop(ones[::-1], NEW, open_max=4, idle_since=-1.0) == [ones[0].key]
