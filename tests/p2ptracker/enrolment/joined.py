"""A host that has joined a running control plane, and speaks to it as itself."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import msgspec

from p2pdaemon.config import DaemonConfig
from p2pdaemon.enrolment_client import open_enrolment
from p2pdaemon.join import join
from p2pdeploy.messages.enrolment import IssuedIdentity, RenewRequest
from p2pdeploy.trust.host_identity import HostIdentity, load_identity
from p2pdeploy.trust.host_keys import new_leaf_keys, renewal
from p2pdeploy.trust.tls import client_context, is_control_plane


class Joined(msgspec.Struct):
    identity: HostIdentity
    http: httpx2.AsyncClient


def config_at(tracker, config_of, name: str) -> DaemonConfig:
    """The configuration of a host that asks *tracker*."""
    return config_of(
        tracker.plane.inventory.get(name), api=f"https://127.0.0.1:{tracker.ports.api}"
    )


async def joined(tracker, config_of, token_for, name: str) -> DaemonConfig:
    """The configuration of a host that has just joined."""
    config = config_at(tracker, config_of, name)
    await join(config, await token_for(tracker, name))
    return config


@asynccontextmanager
async def join_as(
    tracker, config_of, token_for, name: str, *, again: bool = False
) -> AsyncGenerator[Joined]:
    config = config_at(tracker, config_of, name)
    await join(config, await token_for(tracker, name), again=again)
    identity = load_identity(config.identity_dir, config.name)
    context = client_context(identity.files, is_control_plane, who="the control plane")
    async with httpx2.AsyncClient(base_url=config.api, verify=context, trust_env=False) as http:
        yield Joined(identity, http)


async def renew_as(tracker, host: Joined, request: RenewRequest | None = None) -> IssuedIdentity:
    """Renew as *host*, or with whatever *request* says."""
    if request is None:
        request = renewal(host.identity.key, new_leaf_keys(), now=time.time())
    api = f"https://127.0.0.1:{tracker.ports.api}"
    pem = tracker.plane.trust.fleet_ca.pem
    async with open_enrolment(api, pem, address="127.0.0.1") as client:
        return await client.renew(request)
