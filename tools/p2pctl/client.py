"""The control plane's HTTP API of one fleet: every call there is, on one connection.

The calls themselves stand in ``p2pctl/api/``, by noun.  Every failure comes out as one of our
errors, see :mod:`p2pctl.wire`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from p2pctl.api.access import AccessCalls
from p2pctl.api.caches import CacheCalls
from p2pctl.api.enrolment import EnrolmentCalls
from p2pctl.api.hosts import HostCalls
from p2pctl.api.keys import KeyCalls
from p2pctl.api.limits import LimitCalls
from p2pctl.api.operators import OperatorCalls
from p2pctl.api.prefetches import PrefetchCalls
from p2pctl.api.releases import ReleaseCalls
from p2pctl.api.rollouts import RolloutCalls
from p2pctl.wire import Wire
from p2pdeploy.trust.tls import IdentityFiles

__all__ = ["ApiClient"]


class ApiClient(
    ReleaseCalls,
    RolloutCalls,
    PrefetchCalls,
    HostCalls,
    CacheCalls,
    EnrolmentCalls,
    OperatorCalls,
    AccessCalls,
    KeyCalls,
    LimitCalls,
):
    """The API of one control plane.  Use it as a context manager.

    Args:
        api: ``https://ADDRESS:PORT``.
        identity: What we present, and the authority we believe.
        folder: Named in errors, so that the user knows which fleet did not answer.
        local_address: The address outgoing connections bind; None lets the kernel choose.

    Raises:
        ConfigError: *api* is no such address, or the identity's files are not usable.
    """

    def __init__(
        self, api: str, identity: IdentityFiles, *, folder: Path, local_address: str | None = None
    ) -> None:
        super().__init__(Wire(api, identity, folder=folder, local_address=local_address))
        self.identity = identity
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wire.close()
