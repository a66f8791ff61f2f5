"""A command whose exit code 2 has a sense of its own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import click

from p2pdeploy.errors import P2PDeployError

__all__ = ["OwnExitCodes"]

EXIT_ERROR = 1


class OwnExitCodes(click.Command):
    """Its errors, also those of usage, exit 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _errors_exit_with(EXIT_ERROR):
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _errors_exit_with(EXIT_ERROR):
            return super().invoke(ctx)


@contextmanager
def _errors_exit_with(code: int) -> Generator[None]:
    try:
        yield
    except (P2PDeployError, click.ClickException) as error:
        error.exit_code = code  # pyright: ignore[reportAttributeAccessIssue] of this one error
        raise
