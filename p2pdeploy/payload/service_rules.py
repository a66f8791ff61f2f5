"""What each key of service.toml may hold: one rule a key, saying in words what is wrong.  Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import cast

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import check_service
from p2pdeploy.payload.service_spec import variable_fault

__all__ = ["HEALTH_KINDS", "REQUIRED", "RULES", "Rule"]

Rule = Callable[[object], str]
"""Takes the value as TOML gives it; returns what is wrong, or nothing."""

STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
ARGUMENTS_MAX = 256  # a command line that a person wrote
TEXT_BYTES_MAX = 8 * 1024  # one argument or one value; well below the kernel's 128 KiB
ENV_NAMES_MAX = 256

_TOML_TYPES = {
    "bool": "a boolean",
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "a table",
}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")  # as useradd(8) has it
_HTTP = re.compile(r"http://\$HOST:(\$PORT|[1-9][0-9]{0,4})(/[\x21-\x7e]*)?")
_TCP = re.compile(r"\$HOST:(\$PORT|[1-9][0-9]{0,4})")


def _service_name(value: object) -> str:
    if not isinstance(value, str):
        return _wrong_type(value, "a string")
    try:
        check_service(value)
    except RefusedError as error:
        return f"{error.message}: {error.hint}"
    return ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        return _wrong_type(value, "a string")
    if "\0" in value:
        return "has a NUL character"
    if len(value.encode()) > TEXT_BYTES_MAX:
        return f"is longer than {TEXT_BYTES_MAX} bytes"
    return variable_fault(value)


def _command(value: object) -> str:
    if isinstance(value, str):
        return (
            'must be a list of strings, such as ["./server", "--port", "$PORT"]; there is no shell'
        )
    if not isinstance(value, list):
        return _wrong_type(value, "a list of strings")
    words = cast(list[object], value)
    if not words:
        return "must name a program"
    if len(words) > ARGUMENTS_MAX:
        return f"has more than {ARGUMENTS_MAX} words"
    for number, word in enumerate(words, 1):
        if fault := _text(word):
            return f"word {number}: {fault}"
    program = str(words[0])
    if not program or "$" in program:
        return "word 1: the program must be written out"
    if not program.startswith("/") and ".." in program.split("/"):
        return f"word 1: {program} climbs out of the tree"
    return ""


def _env(value: object) -> str:
    if not isinstance(value, dict):
        return _wrong_type(value, "a table of strings")
    variables = cast(dict[str, object], value)
    if len(variables) > ENV_NAMES_MAX:
        return f"has more than {ENV_NAMES_MAX} names"
    for name, text in variables.items():
        if not _ENV_NAME.fullmatch(name):
            return f"{name!r} is not a name for an environment variable"
        if fault := _text(text):
            return f"{name}: {fault}"
    return ""


def _user(value: object) -> str:
    if not isinstance(value, str):
        return _wrong_type(value, "a string")
    if not _USER.fullmatch(value):
        return f"{value!r} is not the name of an account"
    return "a service never runs as root" if value == "root" else ""


def _http(value: object) -> str:
    if fault := _text(value):
        return fault
    if not _HTTP.fullmatch(str(value)):
        return "must look like http://$HOST:$PORT/path: a service is asked on its own address"
    return _port_fault(_HTTP.fullmatch(str(value)))


def _tcp(value: object) -> str:
    if fault := _text(value):
        return fault
    if not _TCP.fullmatch(str(value)):
        return "must look like $HOST:$PORT: a service is asked on its own address"
    return _port_fault(_TCP.fullmatch(str(value)))


def _port_fault(match: re.Match[str] | None) -> str:
    assert match is not None
    if match[1] != "$PORT" and int(match[1]) > 65_535:
        return f"{match[1]} is not a port"
    return ""


def _one_of(*allowed: str, refused: Mapping[str, str] | None = None) -> Rule:
    def rule(value: object) -> str:
        if not isinstance(value, str):
            return _wrong_type(value, "a string")
        if value in (refused or {}):
            return f"{value!r} {(refused or {})[value]}"
        return "" if value in allowed else f"{value!r} is not one of {', '.join(allowed)}"

    return rule


def _seconds(low: float, high: float) -> Rule:
    def rule(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _wrong_type(value, "a number of seconds")
        if not low <= value <= high:  # NaN is not; an integer may be of any size
            return f"is {value}, but must be {low:g} to {high:g} seconds"
        return ""

    return rule


def _count(low: int, high: int) -> Rule:
    def rule(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return _wrong_type(value, "a whole number")
        return "" if low <= value <= high else f"is {value}, but must be {low} to {high}"

    return rule


def _wrong_type(value: object, wanted: str) -> str:
    return f"must be {wanted}, not {_TOML_TYPES.get(type(value).__name__, 'a date or time')}"


# The upper ends keep one host from holding up a rollout for hours by a slip of the keyboard.
RULES: dict[str, dict[str, Rule]] = {
    "service": {"name": _service_name},
    "run": {
        "command": _command,
        "env": _env,
        "user": _user,
        "stop_signal": _one_of(*STOP_SIGNALS),
        "stop_timeout_s": _seconds(0.1, 600),
    },
    "health": {
        "http": _http,
        "tcp": _tcp,
        "exec": _command,
        "interval_s": _seconds(0.1, 300),
        "timeout_s": _seconds(0.1, 60),
        "healthy_after": _count(1, 100),
        "unhealthy_after": _count(1, 100),
        "start_timeout_s": _seconds(1, 3600),
    },
    "activation": {
        "strategy": _one_of("stop-start", refused={"hot-swap": "is not supported yet"}),
        "bake_s": _seconds(0, 3600),
    },
}
HEALTH_KINDS = ("http", "tcp", "exec")
REQUIRED = (
    ("service", "name", 'name = "hello"'),
    ("run", "command", 'command = ["./server"]'),
)
"""Table, key, example."""
