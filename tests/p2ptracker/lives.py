"""Lives of a control plane on one folder, each ended by a kill or by a disk that refuses."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from inspect import iscoroutinefunction
from pathlib import Path

import pytest

from p2ptracker.control_plane import ControlPlane, open_control_plane
from p2ptracker.keys.rotation import Waits
from tests.p2ptracker.rollout_bench import EPOCH_S

__all__ = ["READ_ONLY", "Killed", "a_life", "before_and_after", "failing"]

READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))
NOW = Waits(step_s=0.0, credentials_s=0.0)


class Killed(BaseException):
    """The process ends here: nothing after it is done, and nobody may catch it."""


@asynccontextmanager
async def a_life(folder: Path) -> AsyncGenerator[ControlPlane]:
    """The control plane on *folder*, from its start to a kill or its end."""
    async with open_control_plane(folder, clock=lambda: EPOCH_S) as plane:
        plane.keys.waits = NOW
        yield plane


@contextmanager
def failing(
    error: BaseException, owner: object, name: str, *, after: bool = False
) -> Generator[None]:
    """Whoever calls *name* of *owner* gets *error*, before or after it is done."""
    real = getattr(owner, name)

    def broken(*args: object) -> object:
        if after:
            real(*args)
        raise error

    async def broken_task(*args: object, **how: object) -> object:
        if after:
            await real(*args, **how)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, broken_task if iscoroutinefunction(real) else broken)
        yield


def before_and_after(*writes: tuple[object, str]) -> list[tuple[object, str, bool]]:
    """Each function that writes, with a kill before it and one after it."""
    return [(owner, name, after) for owner, name in writes for after in (False, True)]
