"""Every host of the fleet, as the file has it and as enrolment changes it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import msgspec

from p2pdeploy.errors import NotFoundError, RefusedError
from p2pdeploy.ids import HostName
from p2pdeploy.topology import Host
from p2ptracker.storage.enrolment import Enrolment

__all__ = ["Inventory"]


class Inventory(Sequence[Host]):
    """Hosts in name order.  It may grow while it is in use, and records may be replaced.

    Args:
        hosts: As DIR/inventory.json has them.
        enrolments: Numbers from the database, where a host has one.
    """

    def __init__(self, hosts: Iterable[Host], enrolments: Iterable[Enrolment] = ()) -> None:
        self._hosts = {host.name: host for host in hosts}
        for known in enrolments:
            self.set_enrolment(known.host, known.enrolment)
        self._names = sorted(self._hosts)

    def __repr__(self) -> str:
        return f"<Inventory of {len(self)} hosts>"

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Host]:
        return iter([self._hosts[name] for name in self._names])

    @overload
    def __getitem__(self, index: int) -> Host: ...
    @overload
    def __getitem__(self, index: slice) -> list[Host]: ...
    def __getitem__(self, index: int | slice) -> Host | list[Host]:
        if isinstance(index, slice):
            return [self._hosts[name] for name in self._names[index]]
        return self._hosts[self._names[index]]

    def find(self, name: str) -> Host | None:
        """One host."""
        return self._hosts.get(HostName(name))

    def get(self, name: str, *, hint: str = "") -> Host:
        """One host; raises NotFoundError, with *hint*."""
        host = self.find(name)
        if host is None:
            raise NotFoundError(f"the inventory has no host {name!r}", hint=hint, code="no-host")
        return host

    def set_enrolment(self, name: HostName, enrolment: int) -> None:
        """Take note of the last enrolment of a host; one that is not here is passed over."""
        host = self._hosts.get(name)
        if host is not None:
            self._hosts[name] = msgspec.structs.replace(host, enrolment=enrolment)

    def lacking(self, described: Sequence[Host]) -> list[Host]:
        """Those of *described* that are new here.

        Raises:
            RefusedError: one is here already and looks different, or has another's address.
        """
        addresses = {host.address: host.name for host in self}
        new: dict[HostName, Host] = {}
        for host in described:
            known = self._hosts.get(host.name) or new.get(host.name)
            if known is not None:
                _require_same(host, known)
                continue
            taken_by = addresses.setdefault(host.address, host.name)
            if taken_by != host.name:
                raise RefusedError(
                    f"{host.address} is the address of {taken_by}",
                    where=host.name,
                    code="address-taken",
                )
            new[host.name] = host
        return list(new.values())

    def add(self, host: Host) -> None:
        """Take in a host that :meth:`lacking` returned."""
        assert host.name not in self._hosts, host.name
        self._hosts[host.name] = host
        self._names.insert(bisect_left(self._names, host.name), host.name)


def _require_same(described: Host, known: Host) -> None:
    same = msgspec.structs.replace(described, enrolment=known.enrolment)
    for field in Host.__struct_fields__:
        was, is_said = getattr(known, field), getattr(same, field)
        if was != is_said:
            raise RefusedError(
                f"the inventory has {field} {was!r}, not {is_said!r}",
                where=known.name,
                hint="the inventory decides; change it there if it is wrong",
                code="host-differs",
            )
