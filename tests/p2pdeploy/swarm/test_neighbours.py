"""The mesh: connected, symmetric, near-regular, never shut inside a fault domain, stable."""

from __future__ import annotations

import pytest

from p2pdeploy.ids import FaultDomain, HostName
from p2pdeploy.swarm.neighbours import DEGREE_MAX_FACTOR, Mesh, degree_of, mesh_of, neighbours_of

SIZES = [2, 3, 8, 9, 10, 12, 13, 24, 33, 100, 333, 1000]


def cell(hosts: int, domains: int) -> dict[HostName, FaultDomain]:
    return {HostName(f"h{k:03}"): FaultDomain(f"fd{k % domains}") for k in range(hosts)}


def reachable(mesh: Mesh) -> set[HostName]:
    seen: set[HostName] = set()
    ahead = [next(iter(mesh))]
    while ahead:
        host = ahead.pop()
        if host not in seen:
            seen.add(host)
            ahead.extend(mesh[host])
    return seen


def links(mesh: Mesh) -> set[tuple[HostName, HostName]]:
    return {(a, b) for a in mesh for b in mesh[a] if a < b}


@pytest.mark.parametrize("hosts", SIZES)
@pytest.mark.parametrize("domains", [1, 3, 10])
def test_mesh_is_connected_symmetric_and_of_bounded_degree(hosts: int, domains: int):
    members = cell(hosts, domains)
    mesh, degree = mesh_of(members), degree_of(hosts)
    assert reachable(mesh) == set(members)
    for host, others in mesh.items():
        assert host not in others
        assert all(host in mesh[other] for other in others)
        assert min(2, hosts - 1) <= len(others) <= degree + 1
    average = sum(len(others) for others in mesh.values()) / hosts
    assert average >= 0.9 * min(degree, hosts - 1)


@pytest.mark.parametrize("hosts", SIZES)
@pytest.mark.parametrize("domains", [2, 3, 10])
def test_every_host_has_a_neighbour_outside_its_fault_domain(hosts: int, domains: int):
    members = cell(hosts, domains)
    for host, others in mesh_of(members).items():
        assert any(members[other] != members[host] for other in others)


def test_about_half_the_links_stay_inside_the_fault_domain():
    members = cell(1000, 10)
    inside = [members[a] == members[b] for a, b in links(mesh_of(members))]
    assert 0.4 < sum(inside) / len(inside) < 0.7


def test_one_large_and_one_tiny_fault_domain_keep_the_degree_bounded():
    members = cell(200, 1) | {HostName("lone"): FaultDomain("fd1")}
    mesh = mesh_of(members, 8)
    assert reachable(mesh) == set(members)
    assert len(mesh[HostName("lone")]) <= 8 * DEGREE_MAX_FACTOR


@pytest.mark.parametrize(("hosts", "domains"), [(13, 3), (100, 4), (1000, 10)])
def test_few_links_change_when_one_host_leaves(hosts: int, domains: int):
    members = cell(hosts, domains)
    degree = degree_of(hosts)
    before = links(mesh_of(members, degree))
    for gone in list(members)[:: max(1, hosts // 5)]:
        rest = {host: domain for host, domain in members.items() if host != gone}
        after = links(mesh_of(rest, degree))
        others = {link for link in before if gone not in link}
        assert len(others ^ after) <= 5 * degree


def test_the_mesh_does_not_depend_on_the_order_of_the_members():
    members = cell(40, 4)
    assert mesh_of(members) == mesh_of(dict(reversed(members.items())))


def test_a_host_alone_has_no_neighbours_and_two_have_each_other():
    a, b = HostName("a"), HostName("b")
    domain = FaultDomain("fd0")
    assert neighbours_of(a, {a: domain}) == []
    assert neighbours_of(a, {b: domain, a: domain}) == [b]
