"""A dealer that answers when there is something to say (shell).

The core says wait; here the request is held instead, until it is that host's turn.  So a host that
waits costs nothing, and a turn that comes up is not slept through.  Who is answered, or whose
connection ends, keeps nobody waiting for the turn that he will not take.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

from p2pdeploy.ids import HostName
from p2pdeploy.messages.deal import DealReply, DealRequest, WaitDeal
from p2pdeploy.swarm.deal import Dealer
from p2pdeploy.swarm.deal_terms import WAIT_MIN_S

__all__ = ["HeldDealer"]

# A host counts as heard when it was answered: well within DealConfig.silent_s and turn_s.
HOLD_S = 4.0


class _Held:
    """The requests of one host that are held: as many as it has loops."""

    __slots__ = ("count", "turn")

    def __init__(self) -> None:
        self.count = 0
        self.turn = trio.Event()


class HeldDealer:
    """One dealer and the requests that wait for it: some per host of a cell at most.

    Args:
        core: Decides.
    """

    def __init__(self, core: Dealer) -> None:
        self.core = core
        self._held: dict[HostName, _Held] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<HeldDealer {len(self._held)} hosts wait, {self.core!r}>"

    @property
    def is_waited_for(self) -> bool:
        """Whether requests are held."""
        return bool(self._held)

    def close(self) -> None:
        """Hold nothing any more: another dealer will take over from what hosts tell it."""
        self._is_closed = True
        for held in self._held.values():
            held.turn.set()

    async def draw(self, request: DealRequest) -> DealReply:
        """The core's reply; one to wait comes after ``HOLD_S`` at the earliest, unless closed.

        Raises:
            ProtocolError, UnavailableError: as the core does.
        """
        until = trio.current_time() + HOLD_S
        reply = self.core.handle(request, trio.current_time())
        self._call_due(request.host)
        if request.paused or not isinstance(reply, WaitDeal):
            return reply
        with self._hold(request.host) as held:
            while isinstance(reply, WaitDeal) and trio.current_time() < until:
                with trio.move_on_at(min(until, trio.current_time() + reply.retry_after_s)):
                    await held.turn.wait()
                if self._is_closed:
                    return WaitDeal(retry_after_s=WAIT_MIN_S)
                reply = self.core.ask_again(request, trio.current_time())
                self._call_due(request.host)
        return reply

    def note_left(self, host: HostName, piece: int) -> None:
        """The bytes of the deal of *piece* to *host* have left: it is others' turn."""
        self.core.note_left(host, piece, trio.current_time())
        self._call_due(host)

    @contextmanager
    def _hold(self, host: HostName) -> Generator[_Held]:
        held = self._held.setdefault(host, _Held())
        held.count += 1
        try:
            yield held
        finally:
            held.count -= 1
            if not held.count:
                del self._held[host]
                self.core.step_aside(host, trio.current_time())
                self._call_due(host)

    def _call_due(self, but: HostName) -> None:
        for host in self.core.due():
            held = self._held.get(host)
            if host != but and held is not None:
                held.turn.set()
                held.turn = trio.Event()
