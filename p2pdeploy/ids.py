"""Names and digests: distinct types for things that are all strings, and their spelling rules.

A name that passes here is safe as one path component, one URL segment and one log field.
"""

from __future__ import annotations

import re
from typing import NewType

from p2pdeploy.errors import RefusedError

__all__ = [
    "CellId",
    "Digest",
    "FaultDomain",
    "HostName",
    "RolloutId",
    "ServiceName",
    "Version",
    "cell_id",
    "check_digest",
    "check_label",
    "check_service",
    "check_version",
    "target_of",
]

ServiceName = NewType("ServiceName", str)
Version = NewType("Version", str)
HostName = NewType("HostName", str)
FaultDomain = NewType("FaultDomain", str)
CellId = NewType("CellId", str)
"""``environment.machine_function.cluster``, at most ``CELL_HOSTS_MAX`` hosts."""
RolloutId = NewType("RolloutId", str)
Digest = NewType("Digest", str)
"""BLAKE3-256 as 64 lower-case hexadecimal digits."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}")
_VERSION_CHARS_MAX = 128
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_service(text: str) -> ServiceName:
    """Return *text* as a service name, or raise :class:`RefusedError` that says the rule."""
    if not _SERVICE.fullmatch(text) or ".." in text:
        raise RefusedError(
            f"{text!r} is not a service name",
            hint="use 1 to 63 of a-z 0-9 . _ - with a letter or digit at both ends",
            code="bad-service-name",
        )
    return ServiceName(text)


def check_version(text: str) -> Version:
    """Return *text* as a version, or raise :class:`RefusedError` that says the rule."""
    if len(text) > _VERSION_CHARS_MAX:
        raise RefusedError(
            f"a version of {len(text)} characters is too long",
            hint=f"it has at most {_VERSION_CHARS_MAX}",
            code="bad-version",
        )
    if not _VERSION.fullmatch(text) or ".." in text:
        raise RefusedError(
            f"version {text!r} has illegal characters",
            hint="use 1 to 128 of A-Z a-z 0-9 . + _ - starting with a letter or digit",
            code="bad-version",
        )
    return Version(text)


def check_label(text: str, what: str) -> str:
    """Return *text* if it is a DNS label, or raise :class:`RefusedError`; *what* names it."""
    if not _LABEL.fullmatch(text):
        raise RefusedError(
            f"{text!r} is not a valid {what}",
            hint="use 1 to 63 of a-z 0-9 - with a letter or digit at both ends",
            code="bad-name",
        )
    return text


def check_digest(text: str) -> Digest:
    """Return *text* as a digest, or raise :class:`RefusedError`."""
    if not _DIGEST.fullmatch(text):
        raise RefusedError(f"{text!r} is not a digest of 64 hexadecimal digits", code="bad-digest")
    return Digest(text)


def cell_id(environment: str, machine_function: str, cluster: str = "c0") -> CellId:
    """Join the three labels of a cell; each must be a DNS label."""
    return CellId(
        ".".join(
            (
                check_label(environment, "environment"),
                check_label(machine_function, "machine function"),
                check_label(cluster, "cluster"),
            )
        )
    )


def target_of(cell: CellId) -> str:
    """``environment.machine_function`` of *cell*: cells that share it exchange pieces."""
    return cell.rpartition(".")[0]
