"""Look for control planes on the local network; whom to believe is not its affair (RFC 6762)."""

from __future__ import annotations

import queue
import time
from typing import Any

import trio

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.enrolment import LAN_SERVICE

__all__ = ["find_on_lan"]

LOOK_S = 4.0  # queries go out at once, after 1 s and after 3 s
FOUND_MAX = 16  # anybody may announce; each costs a connection


async def find_on_lan(address: str) -> tuple[str, ...]:
    """The URLs that are announced where *address* is, the first to answer first.

    Raises:
        UnavailableError: none is, or the network takes no multicast.
    """
    found = await trio.to_thread.run_sync(_look, address)
    if not found:
        raise UnavailableError(
            "no control plane is announced on this network",
            where=address,
            hint="announce_on_lan = true in its tracker.toml, or a token with its address",
            code="none-on-lan",
        )
    return found


def _look(address: str) -> tuple[str, ...]:
    # Loaded by the one command that needs it.
    from zeroconf import IPVersion, ServiceBrowser, Zeroconf

    names: queue.Queue[str] = queue.Queue()

    def heard(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        names.put(name)

    try:
        zeroconf = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    except OSError as error:
        raise UnavailableError(f"no multicast here: {error.strerror}", where=address) from error
    found: dict[str, None] = {}
    try:
        browser = ServiceBrowser(zeroconf, LAN_SERVICE, handlers=[heard])
        until = time.monotonic() + LOOK_S
        while (left_s := until - time.monotonic()) > 0 and len(found) < FOUND_MAX:
            try:
                name = names.get(timeout=left_s)
            except queue.Empty:
                break
            info = zeroconf.get_service_info(LAN_SERVICE, name, timeout=1_000)
            for each in info.parsed_addresses(IPVersion.V4Only) if info else ():
                found[f"https://{each}:{info.port if info else 0}"] = None
        browser.cancel()
    finally:
        zeroconf.close()
    return tuple(found)
