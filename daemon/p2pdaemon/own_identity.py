"""Who this host is: its configuration and its credential must say the same."""

from __future__ import annotations

from p2pdaemon.config import DaemonConfig
from p2pdeploy.errors import ConfigError
from p2pdeploy.trust.host_identity import HostIdentity, load_identity

__all__ = ["load_own_identity"]


def load_own_identity(config: DaemonConfig) -> HostIdentity:
    """The identity of the host that *config* describes.

    Raises:
        ConfigError: the host has not joined, its identity is damaged, or the control plane
            enrolled it as something else: its peers would believe nothing it says.
    """
    identity = load_identity(config.identity_dir, config.name)
    enrolled = identity.credential
    for key, ours, theirs in (
        ("cell", config.cell, enrolled.cell),
        ("fault_domain", config.fault_domain, enrolled.fault_domain),
    ):
        if ours != theirs:
            raise ConfigError(
                f"{key} is {ours!r}, but this host was enrolled with {theirs!r}",
                where=str(config.identity_dir),
                hint="correct daemon.toml, or the inventory and join again",
                code="other-host",
            )
    return identity
