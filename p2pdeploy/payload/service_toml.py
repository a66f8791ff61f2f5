"""Read and judge service.toml: every fault has a file, a line and a key.

* :func:`parse_service_toml` gives the typed :class:`ServiceSpec` or raises the first fault.
* :func:`lint_tree` lists all faults of a payload's service.toml, those against its tree included.
* :func:`check_tree` is what publishing asks for.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal, cast

import msgspec

from p2pdeploy.codec import load_toml
from p2pdeploy.errors import PayloadError
from p2pdeploy.ids import ServiceName
from p2pdeploy.payload.service_findings import Finding, Places
from p2pdeploy.payload.service_rules import HEALTH_KINDS, REQUIRED, RULES
from p2pdeploy.payload.service_spec import (
    SERVICE_TOML,
    ServiceSpec,
    effective,
    expand,
    service_environment,
)

__all__ = [
    "SERVICE_TOML",
    "ServiceSpec",
    "check_tree",
    "effective",
    "expand",
    "lint_tree",
    "parse_service_toml",
    "read_service_toml",
    "service_environment",
]

SERVICE_TOML_BYTES_MAX = 64 * 1024  # people write it; also bounds what a host parses


def parse_service_toml(data: bytes, where: str = SERVICE_TOML) -> ServiceSpec:
    """Parse the bytes of a service.toml; *where* is the file's name for messages.

    Raises:
        PayloadError: the first fault in the order of the file, with line and key.
    """
    findings, tables = _judge(data, where)
    for finding in findings:
        raise finding.to_error()
    return msgspec.convert(tables, ServiceSpec)


def read_service_toml(tree: Path) -> ServiceSpec:
    """Read ``service.toml`` at the root of *tree*.  Raises PayloadError."""
    return parse_service_toml(_read(tree), str(tree / SERVICE_TOML))


def lint_tree(tree: Path) -> list[Finding]:
    """All faults and doubts about the service.toml of *tree*, in the order of the file.

    The tree's other files are judged by ``walk``.  Raises PayloadError when there is no
    service.toml that can be read.
    """
    where = str(tree / SERVICE_TOML)
    data = _read(tree)
    findings, tables = _judge(data, where)
    place = Places(data, where)
    for table, key in (("run", "command"), ("health", "exec")):
        section = tables.get(table)
        argv = cast(dict[str, object], section).get(key) if isinstance(section, dict) else None
        name = f"{table}.{key}"
        if argv is None or any(finding.key == name for finding in findings):
            continue
        fault, severity = _program_fault(tree, cast(list[str], argv)[0])
        if fault:
            findings.append(place.finding(name, fault, severity=severity))
    return sorted(findings, key=lambda finding: finding.line)


def check_tree(tree: Path, service: ServiceName) -> ServiceSpec:
    """Read the service.toml of *tree* for publishing it as *service*.

    Raises:
        PayloadError: its first fault, or it names another service.
    """
    for finding in lint_tree(tree):
        if finding.severity == "error":
            raise finding.to_error()
    data = _read(tree)
    where = str(tree / SERVICE_TOML)
    spec = parse_service_toml(data, where)
    if spec.service.name != service:
        wrong = f"is {spec.service.name!r}, but {service!r} is to be published"
        raise Places(data, where).finding("service.name", wrong).to_error()
    return spec


def _read(tree: Path) -> bytes:
    file = tree / SERVICE_TOML
    try:
        # A link could lead out of the tree, and a pipe would hang us.
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise PayloadError("is not a regular file", where=str(file), code="unreadable")
            return opened.read(SERVICE_TOML_BYTES_MAX + 1)
    except FileNotFoundError:
        raise PayloadError(
            f"has no {SERVICE_TOML}",
            where=str(tree),
            hint=f"a payload is a directory with a {SERVICE_TOML} at its root",
            code="no-service-toml",
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PayloadError(
                "is a symbolic link, which is not followed",
                where=str(file),
                hint=f"put the {SERVICE_TOML} itself at the root of the payload",
                code="unreadable",
            ) from None
        raise PayloadError(
            f"can't be read: {error.strerror}", where=str(file), code="unreadable"
        ) from error


def _judge(data: bytes, where: str) -> tuple[list[Finding], dict[str, object]]:
    """All faults in the text itself, and its tables as far as they could be read."""
    places = Places(data, where)
    if len(data) > SERVICE_TOML_BYTES_MAX:
        return [places.finding("", f"is larger than {SERVICE_TOML_BYTES_MAX} bytes")], {}
    try:
        tables: dict[str, object] = load_toml(data)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [Finding(file=where, line=line, key="", message="is not UTF-8")], {}
    except ValueError as error:
        return [places.syntax_fault(str(error))], {}
    findings: list[Finding] = []
    for table, content in tables.items():
        if table not in RULES:
            findings.append(places.unknown(table, list(RULES)))
        elif not isinstance(content, dict):
            findings.append(places.finding(table, "must be a table", hint=f"write [{table}]"))
        else:
            findings += _judge_table(places, table, cast(dict[str, object], content))
    findings += _missing(places, tables)
    return sorted(findings, key=lambda finding: finding.line), tables


def _judge_table(places: Places, table: str, content: dict[str, object]) -> list[Finding]:
    findings: list[Finding] = []
    for key, value in content.items():
        name = f"{table}.{key}"
        rule = RULES[table].get(key)
        if rule is None:
            findings.append(places.unknown(name, list(RULES[table])))
            continue
        fault = rule(value)
        if fault:
            findings.append(places.finding(name, fault))
    kinds = [kind for kind in HEALTH_KINDS if kind in content]
    if table == "health" and len(kinds) > 1:
        findings.append(
            places.finding(f"health.{kinds[1]}", f"stands beside {kinds[0]}; one kind is allowed")
        )
    return findings


def _missing(places: Places, tables: dict[str, object]) -> list[Finding]:
    findings: list[Finding] = []
    for table, key, example in REQUIRED:
        content = tables.get(table, {})
        if isinstance(content, dict) and key not in content:
            name = f"{table}.{key}"
            findings.append(places.finding(name, "is missing", hint=f"for example {example}"))
    health = tables.get("health", {})
    if isinstance(health, dict) and not any(kind in health for kind in HEALTH_KINDS):
        hint = 'for example http = "http://$HOST:$PORT/healthz", or tcp, or exec'
        findings.append(places.finding("health", "has no health check", hint=hint))
    return findings


def _program_fault(tree: Path, program: str) -> tuple[str, Literal["error", "warning"]]:
    """What is wrong with the first word of a command in *tree*."""
    if program.startswith("/"):
        return "", "error"
    inside = tree / program
    if "/" not in program:
        if inside.is_file():
            return f"{program} is looked for in PATH, not in the tree; write ./{program}", "warning"
        return "", "error"
    if not inside.is_file():
        return f"{program} is not a file of the tree", "error"
    if not os.access(inside, os.X_OK):
        return f"{program} is not executable", "error"
    return "", "error"
