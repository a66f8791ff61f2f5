"""Stop every service of a host whose daemon is down, through their supervisors."""

from __future__ import annotations

import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.services.runner import ServiceRunner
from p2pdeploy.errors import P2PDeployError, RefusedError, UnavailableError
from p2pdeploy.ids import check_service

__all__ = ["stop_services"]


async def stop_services(config: DaemonConfig) -> list[str]:
    """Stop all of them at once; return the names of those that ran.

    Journal and links stay as they are: a daemon that starts again starts them again.

    Raises:
        UnavailableError: some do not die; it names them.
    """
    folder = config.state_dir / "services"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    stopped: list[str] = []
    failures: list[str] = []

    async def stop(name: str) -> None:
        try:
            check_service(name)
            if await ServiceRunner(folder / name).stop() is not None:
                stopped.append(name)
        except RefusedError:
            return  # not a service's folder
        except P2PDeployError as error:
            failures.append(f"{name}: {error}")

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(stop, name)
    if failures:
        raise UnavailableError("; ".join(failures), where=str(folder), code="services-left")
    return sorted(stopped)
