"""What service.toml says, as typed values with every default, and how its variables expand.  Pure.

The defaults stand here and nowhere else; ``p2pctl lint`` prints them from :func:`effective`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from p2pdeploy.errors import PayloadError
from p2pdeploy.ids import ServiceName

__all__ = [
    "SERVICE_PATH",
    "SERVICE_TOML",
    "VARIABLES",
    "ActivationSection",
    "HealthSection",
    "RunSection",
    "ServiceSection",
    "ServiceSpec",
    "effective",
    "expand",
    "service_environment",
    "variable_fault",
]

SERVICE_TOML = "service.toml"
"""Where a payload says how to run it: at its root."""

SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a service unless the host is configured otherwise."""

VARIABLES: Mapping[str, str] = {
    "HOST": "the host's own address, to bind",
    "PORT": "a free port, kept across versions",
    "STATE_DIR": "a folder that survives upgrades",
    "SERVICE": "the service's name",
    "VERSION": "the version that runs",
}
"""What ``$NAME`` may name in a command, an env value or a health check."""

_REFERENCE = re.compile(r"\$(\$|[A-Za-z_][A-Za-z0-9_]*|)")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables of service.toml."""


class ServiceSection(Section, frozen=True):
    name: ServiceName


class RunSection(Section, frozen=True):
    """``command`` is argv without a shell; a relative path with ``/`` is one of the tree.

    At the end of a service's life its process group gets ``stop_signal`` and, after
    ``stop_timeout_s``, SIGKILL.  ``user`` is an account of the host, which its daemon must allow;
    without it a daemon that is root makes a user for this service alone.
    """

    command: tuple[str, ...]
    env: dict[str, str] = {}
    user: str = ""
    stop_signal: str = "SIGTERM"
    stop_timeout_s: float = 10.0


class HealthSection(Section, frozen=True):
    """Exactly one of ``http`` (2xx is healthy), ``tcp`` (connects) and ``exec`` (exits 0) is set.

    ``healthy_after`` and ``unhealthy_after`` count consecutive results.  A service that was not
    healthy ``start_timeout_s`` after its start has failed.
    """

    http: str = ""
    tcp: str = ""
    exec: tuple[str, ...] = ()
    interval_s: float = 1.0
    timeout_s: float = 2.0
    healthy_after: int = 1
    unhealthy_after: int = 3
    start_timeout_s: float = 30.0


class ActivationSection(Section, frozen=True):
    """``bake_s``: how long a new version must stay healthy before the next host starts."""

    strategy: Literal["stop-start"] = "stop-start"
    bake_s: float = 2.0


class ServiceSpec(Section, frozen=True):
    """A whole service.toml."""

    service: ServiceSection
    run: RunSection
    health: HealthSection
    activation: ActivationSection = ActivationSection()


def effective(spec: ServiceSpec) -> dict[str, dict[str, object]]:
    """All settings with their defaults, table by table, without the health kinds not in use."""
    tables: dict[str, dict[str, object]] = msgspec.json.decode(msgspec.json.encode(spec))
    kinds = ("http", "tcp", "exec")
    tables["health"] = {k: v for k, v in tables["health"].items() if v or k not in kinds}
    return tables


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each ``$NAME`` by its value and ``$$`` by a dollar sign.

    Values are not expanded again.

    Raises:
        PayloadError: a name that is not in *variables*, or a ``$`` without a name.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name == "$":
            return "$"
        if name not in variables:
            raise PayloadError(f"${name} is not defined", where=repr(text), code="bad-variable")
        return variables[name]

    return _REFERENCE.sub(value_of, text)


def variable_fault(text: str) -> str:
    """Why :func:`expand` would refuse *text* on a host; empty when it would not."""
    for match in _REFERENCE.finditer(text):
        name = match[1]
        if name != "$" and name not in VARIABLES:
            known = " ".join(f"${variable}" for variable in VARIABLES)
            shown = f"${name} is not a variable" if name else "a single $ stands for nothing"
            return f"{shown}; there are {known}, and $$ is a dollar sign"
    return ""


def service_environment(
    spec: ServiceSpec, variables: Mapping[str, str], *, path: str = SERVICE_PATH
) -> dict[str, str]:
    """The whole environment of the service: PATH, LANG, HOME and its own ``env``, nothing else.

    ``env`` wins over the three.  Raises PayloadError as :func:`expand` does.
    """
    environment = {"PATH": path, "LANG": "C.UTF-8", "HOME": variables["STATE_DIR"]}
    for name, text in spec.run.env.items():
        environment[name] = expand(text, variables)
    return environment
