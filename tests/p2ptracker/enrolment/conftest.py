"""A host that wants in: its configuration, its token, its company, and what others see of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec
import pytest

from p2pdaemon.config import DaemonConfig
from p2pdeploy.messages.enrolment_desk import TokenView
from p2pdeploy.topology import Host
from tests.p2ptracker.enrolment.by_certificate import H1, let_join
from tests.p2ptracker.enrolment.company_ca import DOMAIN, CompanyCa, new_company


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


@pytest.fixture
def ca() -> CompanyCa:
    """A company's CA, below which its hosts have certificates."""
    return new_company()


@pytest.fixture
async def company(fleet_dir: Path, started, ca: CompanyCa) -> AsyncGenerator:
    """A control plane that trusts *ca*, and an operator who lets h01 join by it."""
    (fleet_dir / "ca" / "company.pem").write_bytes(ca.pem)
    with (fleet_dir / "tracker.toml").open("a") as file:
        file.write(f'company_ca = "ca/company.pem"\ncompany_domain = "{DOMAIN}"\n')
    async with started(fleet_dir) as tracker:
        await let_join(tracker, H1)
        yield tracker
