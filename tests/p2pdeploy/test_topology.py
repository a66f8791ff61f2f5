"""Hosts by fault domain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.testing.orders import hosts_of
from p2pdeploy.topology import Host, fault_domains_of


@given(st.permutations(hosts_of(12, 5)))
def test_fault_domains_and_hosts_come_in_name_order_whatever_the_input(hosts: list[Host]) -> None:
    grouped = fault_domains_of(hosts)
    assert list(grouped) == [f"fd{n}" for n in range(5)]
    for domain, members in grouped.items():
        assert {host.fault_domain for host in members} == {domain}
        assert [host.name for host in members] == sorted(host.name for host in members)
    assert sum(len(members) for members in grouped.values()) == 12


def test_no_hosts_make_no_fault_domains() -> None:
    assert fault_domains_of([]) == {}
