"""Groups, stripes and trunks: each piece has one way into each group, and no group is cut off."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pdeploy.ids import FaultDomain, HostName
from p2pdeploy.swarm.groups import GROUP_HOSTS_MIN, groups_of
from p2pdeploy.swarm.holdings import bits_of
from p2pdeploy.swarm.neighbours import DEGREE_MAX_FACTOR, degree_of
from p2pdeploy.swarm.overlay import Place, place_of, plan_cell
from p2pdeploy.swarm.stripes import ALL_STRIPES, STRIPES, carriers_of, key_of, pieces_of, stripe_of
from p2pdeploy.swarm.trunks import TRUNK_DEGREE, gateways_of, trunk_links

keys = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60, unique=True)
stripes = st.integers(0, STRIPES - 1)
bounded = settings(deadline=None, max_examples=25)  # whole cells, a mesh for each host
racks = st.lists(st.integers(1, 14), min_size=1, max_size=12)


def cell(sizes: list[int]) -> dict[HostName, FaultDomain]:
    return {
        HostName(f"h{rack:02}{number:03}"): FaultDomain(f"rack{rack}")
        for rack, size in enumerate(sizes)
        for number in range(size)
    }


def places(sizes: list[int], *, other_cells: bool = False) -> dict[HostName, Place]:
    members = cell(sizes)
    plan = plan_cell(members)
    return {host: place_of(host, plan, has_other_cells=other_cells) for host in members}


def links_of(place: Place) -> set[HostName]:
    return {*place.neighbours, *place.trunk}


def reachable(links: dict[int, set[int]]) -> set[int]:
    seen: set[int] = set()
    ahead = [min(links)]
    while ahead:
        one = ahead.pop()
        if one not in seen:
            seen.add(one)
            ahead.extend(links[one])
    return seen


# -- stripes ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(keys)
def test_every_stripe_has_one_carrier_and_the_load_is_even(hosts: list[int]):
    loads = Counter(carriers_of(hosts))
    assert sum(loads.values()) == STRIPES
    assert set(loads) <= set(range(len(hosts)))
    counts = [loads[index] for index in range(len(hosts))]
    assert max(counts) - min(counts) <= 1


@settings(deadline=None)
@given(keys, st.randoms(use_true_random=False))
def test_carriers_do_not_depend_on_the_order_of_the_hosts(hosts: list[int], rng: Random):
    shuffled = rng.sample(hosts, len(hosts))
    names = [hosts[index] for index in carriers_of(hosts)]
    assert [shuffled[index] for index in carriers_of(shuffled)] == names


def test_few_stripes_change_hands_when_a_host_leaves():
    hosts = [key_of(f"h{number}") for number in range(30)]
    before = [hosts[index] for index in carriers_of(hosts)]
    moved: list[int] = []
    for gone in hosts:
        left = [host for host in hosts if host != gone]
        after = [left[index] for index in carriers_of(left)]
        kept_by_the_gone = before.count(gone)
        changed = sum(a != b for a, b in zip(before, after, strict=True))
        moved.append(changed - kept_by_the_gone)
    assert max(moved) <= 3
    assert sum(moved) <= 0.2 * len(hosts)


@settings(deadline=None)
@given(st.integers(0, ALL_STRIPES), st.integers(1, 100))
def test_the_pieces_of_stripes_are_those_whose_stripe_is_among_them(stripes: int, count: int):
    wanted = [piece for piece in range(count) if stripes >> stripe_of(piece) & 1]
    assert bits_of(pieces_of(stripes, count)) == wanted


def test_pieces_fall_into_the_stripes_evenly():
    sizes = Counter(stripe_of(piece) for piece in range(1000))
    assert len(sizes) == STRIPES
    assert set(sizes.values()) == {125}


# -- groups -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(racks)
def test_every_group_of_several_has_enough_hosts(sizes: list[int]):
    groups = Counter(groups_of([rack for rack, size in enumerate(sizes) for _ in range(size)]))
    assert sum(groups.values()) == sum(sizes)
    if len(groups) > 1:
        assert min(groups.values()) >= GROUP_HOSTS_MIN


@settings(deadline=None)
@given(racks)
def test_a_large_fault_domain_is_never_torn_apart(sizes: list[int]):
    domains = [rack for rack, size in enumerate(sizes) for _ in range(size)]
    groups = groups_of(domains)
    for rack, size in enumerate(sizes):
        if size >= GROUP_HOSTS_MIN:
            assert len({groups[i] for i, domain in enumerate(domains) if domain == rack}) == 1


def test_large_fault_domains_are_groups_and_the_small_ones_share_one():
    assert groups_of([0] * 4 + [1] * 5) == [0] * 4 + [1] * 5
    assert len(set(groups_of([0] * 5 + [1, 1, 2, 2]))) == 2
    assert groups_of([0] * 5 + [1] * 4 + [2]) == [0] * 5 + [1] * 5
    assert groups_of([0, 1, 2, 3, 4, 5]) == [0] * 6
    assert groups_of([0] * 9 + [1] * 3) == [0] * 12


# -- trunks -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(keys, stripes)
def test_a_trunk_is_connected_and_of_the_stated_degree(hosts: list[int], stripe: int):
    links: dict[int, set[int]] = {index: set() for index in range(len(hosts))}
    for low, high in trunk_links(hosts, stripe):
        assert low < high
        links[low].add(high)
        links[high].add(low)
    assert reachable(links) == set(links)
    for others in links.values():
        assert min(2, len(hosts) - 1) <= len(others) <= TRUNK_DEGREE


@settings(deadline=None)
@given(keys, stripes)
def test_the_gateway_and_its_successors_are_different_hosts(hosts: list[int], stripe: int):
    first = gateways_of(hosts, stripe, 3)
    assert len(set(first)) == len(first) == min(3, len(hosts))
    left = [host for index, host in enumerate(hosts) if index != first[0]]
    if left:
        assert left[gateways_of(left, stripe)[0]] == hosts[first[1]]


# -- all together -------------------------------------------------------------------------------


@bounded
@given(racks)
def test_the_graph_of_all_links_is_connected_and_symmetric(sizes: list[int]):
    found = places(sizes)
    numbers = {host: number for number, host in enumerate(found)}
    links = {numbers[host]: {numbers[other] for other in links_of(found[host])} for host in found}
    assert reachable(links) == set(links)
    for host, place in found.items():
        assert host not in links_of(place)
        assert all(host in found[other].neighbours for other in place.neighbours)
        assert all(host in found[other].trunk for other in place.trunk)


@bounded
@given(racks)
def test_links_are_bounded(sizes: list[int]):
    for place in places(sizes).values():
        assert len(place.neighbours) <= DEGREE_MAX_FACTOR * degree_of(sum(sizes))
        assert len(place.trunk) <= TRUNK_DEGREE * place.stripes.bit_count()
        assert place.has_trunk or not place.trunk


@bounded
@given(racks)
def test_in_every_group_each_stripe_has_one_carrier_with_a_way_to_every_other_group(
    sizes: list[int],
):
    members = cell(sizes)
    plan, found = plan_cell(members), places(sizes)
    for group in plan.groups:
        if len(plan.groups) > 1:
            assert sum(found[host].stripes for host in group) == ALL_STRIPES
        outside = {other for host in group for other in found[host].trunk}
        assert not outside & set(group)
        assert len(outside) >= min(1, len(plan.groups) - 1)


@bounded
@given(racks)
def test_each_stripe_has_one_gateway_in_a_cell_that_has_other_cells(sizes: list[int]):
    found = places(sizes, other_cells=True)
    assert sum(place.gateway_of for place in found.values()) == ALL_STRIPES
    for place in found.values():
        assert place.gateway_of & ~place.stripes == 0


def test_a_cell_of_one_group_and_without_other_cells_has_no_trunk():
    for place in places([3, 3, 3]).values():
        assert place == Place(neighbours=place.neighbours)


def test_a_thousand_hosts_get_their_places_in_a_moment():
    found = places([40] * 25)
    assert sum(place.stripes.bit_count() for place in found.values()) == 25 * STRIPES
