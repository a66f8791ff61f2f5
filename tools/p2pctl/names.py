"""Names on the command line that become part of a URL."""

from __future__ import annotations

import re

import click

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import Version, check_version

__all__ = ["NAME", "VERSION", "NameType", "VersionType", "is_plain_name"]

_NAME_CHARS_MAX = 80  # the longest is a rollout's: 63 of its service, a dash, a number
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


def is_plain_name(text: str) -> bool:
    """True when *text* can stand in a path as it is, and leads nowhere else."""
    return bool(_PLAIN.fullmatch(text)) and text not in (".", "..")


class NameType(click.ParamType[str]):
    """An id, a host or a service: what breaks a URL is a wrong command line, not a request."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if len(value) > _NAME_CHARS_MAX:
            start = repr(value[:_NAME_CHARS_MAX])
            self.fail(
                f"what begins with {start} is no name; it may have {_NAME_CHARS_MAX} characters",
                param,
                ctx,
            )
        if not is_plain_name(value):
            self.fail(f"{value!r} is no name; use A-Z a-z 0-9 . _ -", param, ctx)
        return value


class VersionType(click.ParamType[Version]):
    """A version; what cannot be one is a wrong command line."""

    name = "version"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Version:
        try:
            return check_version(value)
        except RefusedError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


NAME = NameType()
VERSION = VersionType()
