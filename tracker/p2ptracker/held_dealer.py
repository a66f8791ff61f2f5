"""A dealer that answers when there is something to say (shell).

The core says wait; here the request is held instead, until it is that host's turn.  So a host that
waits costs nothing, and a turn that comes up is not slept through.
"""

from __future__ import annotations

import trio
from msgspec.structs import replace

from p2pdeploy.ids import HostName
from p2pdeploy.messages.deal import DealReply, DealRequest, WaitDeal
from p2pdeploy.swarm.deal import Dealer

__all__ = ["HeldDealer"]

# A host counts as heard when it was answered: well within DealConfig.silent_s and turn_s.
HOLD_S = 4.0


class HeldDealer:
    """One dealer and the requests that wait for it: some per host of a cell at most.

    Args:
        core: Decides.
    """

    def __init__(self, core: Dealer) -> None:
        self.core = core
        self._held: dict[HostName, trio.Event] = {}

    def __repr__(self) -> str:
        return f"<HeldDealer {len(self._held)} hosts wait, {self.core!r}>"

    async def draw(self, request: DealRequest) -> DealReply:
        """The core's reply; one to wait comes after ``HOLD_S`` at the earliest.

        Raises:
            ProtocolError, UnavailableError: as the core does.
        """
        until = trio.current_time() + HOLD_S
        while True:
            now = trio.current_time()
            reply = self.core.handle(request, now)
            self._call_due(request.host)
            if request.paused or not isinstance(reply, WaitDeal) or now >= until:
                return reply
            turn = self._held.setdefault(request.host, trio.Event())
            with trio.move_on_at(min(until, now + reply.retry_after_s)):
                await turn.wait()
            # Said once: meanwhile the host may have begun afresh, with less.
            nothing = bytes(len(request.have))
            request = replace(request, have=nothing, fresh=False, missing=(), dropped=())

    def _call_due(self, but: HostName) -> None:
        for host in self.core.due():
            if host != but and (turn := self._held.pop(host, None)) is not None:
                turn.set()
