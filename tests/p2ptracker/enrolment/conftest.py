"""A host that wants in: its configuration, its token, and what it looks like to the fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from p2pdaemon.config import DaemonConfig
from p2pdeploy.messages.enrolment_desk import TokenView
from p2pdeploy.topology import Host


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., DaemonConfig]:
    """The configuration of the daemon of one host, whose home is ``hosts/NAME``."""

    def make(host: Host, *, api: str = "https://127.0.0.1:1") -> DaemonConfig:
        home = tmp_path / "hosts" / host.name
        home.mkdir(parents=True, exist_ok=True)
        return DaemonConfig(
            name=host.name,
            address=host.address,
            environment=host.environment,
            machine_function=host.machine_function,
            cell=host.cell,
            fault_domain=host.fault_domain,
            state_dir=home / "state",
            identity_dir=home / "identity",
            api=api,
        )

    return make


@pytest.fixture
def token_for():
    """Asks a running control plane for the join token of a host."""

    async def ask(tracker, host: str, ttl_s: float = 60.0) -> str:
        answer = await tracker.http.post(
            "/v1/enrolment/tokens", json={"hosts": [host], "ttl_s": ttl_s}
        )
        assert answer.status_code == 200, answer.text
        (made,) = msgspec.json.decode(answer.content, type=list[TokenView])
        return made.token

    return ask
