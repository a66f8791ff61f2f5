"""Say on the local network where the control plane is (multicast DNS, ``_p2pdeploy._tcp``).

It only says where to look.  Whether whoever answers there is the right one is decided by the
fingerprint in the join token and by the certificate.

Sources: RFC 6762 (multicast DNS), RFC 6763 (service discovery).
"""

from __future__ import annotations

import socket

import structlog
import trio
from zeroconf import Error, IPVersion, ServiceInfo, Zeroconf

from p2pdeploy.messages.enrolment import LAN_SERVICE

__all__ = ["announce_on_lan"]

log = structlog.get_logger(__name__)
_threads = trio.CapacityLimiter(1)  # the library has a loop of its own, in a thread of its own


async def announce_on_lan(fleet: str, address: str, port: int) -> None:
    """Task: announce the API of *fleet* at *address* until cancelled.

    A network that takes no multicast is logged and ends nothing: tokens name an address.
    """
    try:
        zeroconf, info = await trio.to_thread.run_sync(
            _register, fleet, address, port, limiter=_threads
        )
    except (OSError, Error) as error:
        log.warning("not-announced", address=address, reason=str(error))
        return
    log.info("announced-on-lan", fleet=fleet, address=address, port=port)
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_unregister, zeroconf, info, limiter=_threads)


def _register(fleet: str, address: str, port: int) -> tuple[Zeroconf, ServiceInfo]:
    zeroconf = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    info = ServiceInfo(
        LAN_SERVICE,
        f"{fleet}.{LAN_SERVICE}",
        addresses=[socket.inet_aton(address)],
        port=port,
        server=f"{fleet}.local.",
    )
    try:
        zeroconf.register_service(info)
    except BaseException:
        zeroconf.close()
        raise
    return zeroconf, info


def _unregister(zeroconf: Zeroconf, info: ServiceInfo) -> None:
    zeroconf.unregister_service(info)
    zeroconf.close()
