"""Three real hosts on loopback: real sockets, real time, intervals shortened."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random

import pytest
import trio

from p2pdeploy.errors import ConfigError, TrustError
from p2pdeploy.gossip.config import GossipConfig
from p2pdeploy.gossip.effects import ItemMerged, Notice
from p2pdeploy.gossip.shell import GossipShell
from p2pdeploy.gossip.stream_calls import call_peer
from p2pdeploy.gossip.stream_server import STREAMS_OF_ONE_MAX, STREAMS_SERVED_MAX
from p2pdeploy.gossip.wire import SALT_BYTES, PacketSeal
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.limits import DATAGRAM_BYTES_MAX
from p2pdeploy.messages.gossip import Ack, Member, Nack, Packet, Ping, Status
from p2pdeploy.testing.gossip_world import CELL
from p2pdeploy.testing.keyring import HmacKeyring
from p2pdeploy.trust.cell_keys import (
    CellKeys,
    add_epoch,
    drop_old_epochs,
    first_cell_keys,
    send_with_newest,
)
from p2pdeploy.trust.envelope import Sealed, open_envelope, seal
from tests.p2pdeploy.gossip.messages import KEYS, a_roster, aborted, attested

RING = first_cell_keys(CELL, b"g" * 32)
STRANGERS = first_cell_keys(CELL, b"?" * 32)
QUICK = GossipConfig(
    probe_interval_s=0.2,
    probe_timeout_s=0.1,
    unreachable_probe_interval_s=0.1,
    gossip_interval_s=0.02,
    offer_interval_s=0.1,
    cross_offer_interval_s=0.3,
)
PORT = 17_946
PATIENCE_S = 10.0  # only a failing test waits so long


class Cell:
    """Shells with a way to wait until something holds of them."""

    def __init__(self, nursery: trio.Nursery, network: int) -> None:
        self.nursery = nursery
        self.network = network
        self.shells: dict[int, GossipShell] = {}
        self.merged: dict[int, list[Sealed]] = {}
        self.scopes: dict[int, trio.CancelScope] = {}
        self.something = trio.Event()

    def member(self, number: int) -> Member:
        return Member(
            name=HostName(f"h{number:02}"),
            address=f"127.77.{self.network}.{10 + number}",
            gossip_port=PORT,
            swarm_port=PORT + 1,
            fault_domain=FaultDomain(f"fd{number % 2}"),
        )

    async def start(self, number: int, *, hosts: int = 3) -> GossipShell:
        shell = GossipShell(
            me=self.member(number),
            cell=CELL,
            rng=Random(number),
            verify=lambda envelope: open_envelope(envelope, KEYS),
            keys=RING,
            config=QUICK,
        )
        self.merged[number] = []

        def note(notice: Notice) -> None:
            if isinstance(notice, ItemMerged):
                self.merged[number].append(notice.message)
            self.something.set()

        shell.subscribe(note)
        shell.learn_seeds(tuple(self.member(n) for n in range(1, hosts + 1)))
        self.scopes[number] = await self.nursery.start(self._run, shell)
        self.shells[number] = shell
        return shell

    async def _run(
        self,
        shell: GossipShell,
        task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(shell.run)
                task_status.started(scope)

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not holds():
                self.something = trio.Event()
                await self.something.wait()

    def all_merged(self, count: int) -> bool:
        return all(len(merged) >= count for merged in self.merged.values())

    def believes(self, viewer: int, of: int) -> Status:
        return {m.name: m.status for m in self.shells[viewer].members()}[self.member(of).name]


@asynccontextmanager
async def a_cell(network: int, *, hosts: int = 3) -> AsyncIterator[Cell]:
    async with trio.open_nursery() as nursery:
        cell = Cell(nursery, network)
        for number in range(1, hosts + 1):
            await cell.start(number, hosts=hosts)
        yield cell
        nursery.cancel_scope.cancel()


def a_seal(name: str, ring: CellKeys = RING) -> PacketSeal:
    return PacketSeal(ring, HostName(name), Random(f"{name} {ring.keys}").randbytes(SALT_BYTES))


def sealed_word(host: str, seq: int = 1) -> bytes:
    """What *host* attests, as it is published."""
    return seal(attested(host, seq), KEYS.named(f"host/{host}"))


async def test_small_and_large_items_reach_every_host_once() -> None:
    async with a_cell(1) as cell:
        cell.shells[1].publish(seal(aborted(1), KEYS.named("abort")))
        cell.shells[2].publish(seal(a_roster(500), KEYS.named("deployer")))
        await cell.wait_until(lambda: all(len(m) == 2 for m in cell.merged.values()))
        for merged in cell.merged.values():
            assert sorted(type(message).__name__ for message in merged) == ["Abort", "Roster"]
        summaries = {shell.state.summary() for shell in cell.shells.values()}
        assert len(summaries) == 1


async def test_a_stopped_host_becomes_unreachable_and_a_restarted_one_learns_everything() -> None:
    async with a_cell(2) as cell:
        cell.scopes[3].cancel()
        for n in range(1, 31):
            cell.shells[1].publish(sealed_word(f"h{n:02}"))
        await cell.wait_until(
            lambda: all(cell.believes(n, 3) is Status.UNREACHABLE for n in (1, 2))
        )
        assert HostName("h03") not in cell.shells[1].alive_members()
        await cell.start(3)
        await cell.wait_until(lambda: all(cell.believes(n, 3) is Status.ALIVE for n in (1, 2)))
        await cell.wait_until(lambda: len(cell.merged[3]) == 30)


async def test_a_host_that_leaves_is_known_to_have_left() -> None:
    async with a_cell(3) as cell:
        cell.shells[3].leave()
        cell.scopes[3].cancel()
        await cell.wait_until(lambda: all(cell.believes(n, 3) is Status.LEFT for n in (1, 2)))


async def test_bad_datagrams_are_dropped_and_counted_and_the_host_goes_on() -> None:
    async with a_cell(4) as cell:
        me = cell.member(1)
        good = a_seal("h02")
        ping = Packet(CELL, HostName("h02"), Ping(5, me.name))
        ring_of_c7 = first_cell_keys(CellId("lab.web.c7"), b"g" * 32)
        bad = [
            b"",
            b"x",
            b"x" * 600,
            b"x" * (DATAGRAM_BYTES_MAX + 50),
            a_seal("h02", STRANGERS).seal_datagram(ping),
            a_seal("h02", ring_of_c7).seal_datagram(ping),
            a_seal("h03").seal_datagram(ping),
            good._seal(b"datagram", b"\xc1"),
        ]
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            await stranger.bind(("127.77.4.200", 0))
            for data in bad:
                await stranger.sendto(data, (me.address, PORT))
            await stranger.sendto(good.seal_datagram(ping), (me.address, PORT))
            with trio.fail_after(PATIENCE_S):
                answer, source = await stranger.recvfrom(2_000)
        assert source == (me.address, PORT)
        assert good.open_datagram(answer).message == Ack(5)
        _, statistics = cell.shells[1].statistics()
        assert (statistics.dropped_mac, statistics.dropped_malformed) == (3, 5)


async def test_a_replayed_datagram_is_dropped_and_counted_as_such() -> None:
    async with a_cell(9, hosts=1) as cell:
        me, stranger = cell.member(1), a_seal("h02")
        captured = [
            stranger.seal_datagram(Packet(CELL, HostName("h02"), Ping(token, me.name)))
            for token in (1, 2)
        ]
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as replayer:
            await replayer.bind(("127.77.9.200", 0))
            for data in (captured[0], captured[0], captured[0], captured[1]):
                await replayer.sendto(data, (me.address, PORT))
            with trio.fail_after(PATIENCE_S):
                answers = [await replayer.recvfrom(2_000) for _ in range(2)]
        opened = [stranger.open_datagram(data).message for data, _ in answers]
        assert opened == [Ack(1), Ack(2)], "one answer each"
        assert cell.shells[1].statistics()[1].dropped_replayed == 2


async def test_a_rotation_loses_no_member_and_no_packet() -> None:
    async with a_cell(10) as cell:
        ring, seq = RING, 0
        for step in (lambda r: add_epoch(r, b"n" * 32), send_with_newest, drop_old_epochs):
            ring = step(ring)
            for shell in cell.shells.values():
                shell.use_keys(ring)
                seq += 1
                shell.publish(sealed_word("h01", seq))  # crosses a cell that is half way
                await cell.wait_until(partial(cell.all_merged, seq))
        for number, shell in cell.shells.items():
            assert shell.statistics()[1].dropped_mac == 0
            assert all(cell.believes(number, of) is Status.ALIVE for of in cell.shells)
        with pytest.raises(TrustError):
            cell.shells[1].use_keys(first_cell_keys(CellId("lab.web.c7"), b"n" * 32))


async def test_a_host_without_the_new_key_is_out_after_the_rotation() -> None:
    async with a_cell(11) as cell:
        new = drop_old_epochs(send_with_newest(add_epoch(RING, b"n" * 32)))
        for number in (1, 2):
            cell.shells[number].use_keys(new)
        cell.shells[3].publish(sealed_word("h03"))  # it holds the stolen, old key
        await cell.wait_until(
            lambda: all(cell.believes(n, 3) is Status.UNREACHABLE for n in (1, 2))
        )
        assert not cell.merged[1]
        assert not cell.merged[2]
        assert cell.shells[1].statistics()[1].dropped_mac > 0
        cell.shells[3].use_keys(new)  # asked in time after all: a member again at once
        await cell.wait_until(lambda: all(cell.believes(n, 3) is Status.ALIVE for n in (1, 2)))
        await cell.wait_until(lambda: all(len(m) == 1 for m in cell.merged.values()))


async def test_streams_answer_what_is_proven_and_drop_what_is_not() -> None:
    async with a_cell(5, hosts=1) as cell:
        me = cell.member(1)
        ping = Packet(CELL, HostName("h02"), Ping(5, me.name))

        async def call(seal_with: PacketSeal, packet: Packet, address: str) -> Packet | None:
            return await call_peer(
                seal_with, packet, own_address="127.77.5.200", address=address, port=PORT
            )

        with trio.fail_after(PATIENCE_S):
            good = a_seal("h02")
            reply = await call(good, ping, me.address)
            assert reply is not None
            assert reply.message == Ack(5)
            assert await call(a_seal("h02", STRANGERS), ping, me.address) is None
            assert await call(good, Packet(CELL, HostName("h02"), Nack(1)), me.address) is None
            assert await call(good, ping, "127.77.5.99") is None, "nobody listens there"
            for garbage in (b"", b"\xc1", b"\xc6\xff\xff\xff\xff", b"\x93\x01\x02\x03"):
                stream = await trio.open_tcp_stream(me.address, PORT)
                await stream.send_all(garbage)
                await stream.send_eof()
                assert await stream.receive_some() == b""
                await stream.aclose()
        _, statistics = cell.shells[1].statistics()
        assert statistics.streams_dropped == 5


async def test_more_streams_than_allowed_are_turned_away() -> None:
    async with a_cell(6, hosts=1) as cell, AsyncExitStack() as open_streams:
        for number in range(STREAMS_SERVED_MAX):
            stream = await stream_from(cell, f"127.77.6.{100 + number}")
            await open_streams.enter_async_context(stream)
        assert await is_turned_away(cell, "127.77.6.99")
        assert cell.shells[1].statistics()[1].streams_turned_away == 1


async def test_one_address_takes_no_more_than_its_share_of_streams() -> None:
    async with a_cell(6, hosts=1) as cell, AsyncExitStack() as open_streams:
        for _ in range(STREAMS_OF_ONE_MAX):
            await open_streams.enter_async_context(await stream_from(cell, "127.77.6.99"))
        assert await is_turned_away(cell, "127.77.6.99")
        ping = Packet(CELL, HostName("h02"), Ping(5, HostName("h01")))
        with trio.fail_after(PATIENCE_S):
            reply = await call_peer(
                a_seal("h02"),
                ping,
                own_address="127.77.6.12",
                address=cell.member(1).address,
                port=PORT,
            )
        assert reply is not None


async def stream_from(cell, address: str) -> trio.SocketStream:
    target = cell.member(1).address
    return await trio.open_tcp_stream(target, PORT, local_address=address)


async def is_turned_away(cell, address: str) -> bool:
    async with await stream_from(cell, address) as stream:
        with trio.fail_after(PATIENCE_S):
            return await stream.receive_some() == b""


async def test_an_address_in_use_is_a_clear_error() -> None:
    async with a_cell(7, hosts=1) as cell:
        shell = GossipShell(
            me=cell.member(1),
            cell=CELL,
            rng=Random(1),
            verify=lambda envelope: open_envelope(envelope, KEYS),
            keys=RING,
        )
        with pytest.raises(ConfigError) as refusal:
            await shell.run()
        assert refusal.value.code == "address-in-use"
        assert f"127.77.7.11:{PORT}" in str(refusal.value)


async def test_a_forged_envelope_cannot_be_published() -> None:
    async with a_cell(8, hosts=1) as cell:
        message = aborted(1)
        with pytest.raises(TrustError):
            cell.shells[1].publish(seal(message, HmacKeyring(b"?" * 32, key_id="abort")))
        assert len(cell.shells[1].state) == 0
