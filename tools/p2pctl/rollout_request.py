"""The arguments of ``rollout plan`` and ``rollout apply``, and the request they make."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from p2pctl.durations import DURATION
from p2pctl.names import NAME, VERSION
from p2pctl.targets import read_targets
from p2pdeploy.ids import HostName, check_label, check_service, check_version
from p2pdeploy.messages.api import RolloutRequest

__all__ = ["parse_max_unavailable", "request_of", "request_options", "target_of"]

_DIGITS_MAX = 9  # a fleet of a billion hosts

Command = TypeVar("Command", bound=Callable[..., Any])


class _Share(click.FloatRange):
    """A range that holds no NaN either, which every comparison of click lets through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number from 0 up to, not including, 1", param, ctx)
        return number


def request_options(command: Command) -> Command:
    """The arguments of plan and apply."""
    options = [
        click.argument("service", metavar="SVC", type=NAME),
        click.argument("version", metavar="VER", type=VERSION),
        click.option("--env", "environment", metavar="E", default="", help="Target environment."),
        click.option(
            "--mf", "machine_function", metavar="MF", default="", help="Target machine function."
        ),
        click.option(
            "--targets",
            type=click.Path(path_type=Path),
            help="A file with one target machine a line, # starts a comment.",
        ),
        click.option(
            "--max-unavailable",
            metavar="N|P%",
            help="Hosts a cell may lack because of this rollout  [default: one fault domain]",
        ),
        click.option(
            "--failure-fraction",
            type=_Share(0, 1, max_open=True),
            default=0.1,
            show_default=True,
            help="Share of a fault domain that may fail before the rollout halts.",
        ),
        click.option("--bake", type=DURATION, help="Healthy this long before a host counts."),
        click.option("--settle", type=DURATION, help="Wait between fault domains."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def parse_max_unavailable(text: str | None) -> int | str | None:
    """``3`` as a number, ``25%`` as it is.

    Raises:
        click.BadParameter: neither, or not above zero.
    """
    if text is None:
        return None
    number = text.removesuffix("%")
    # Length first: int() refuses thousands of digits in its own words.
    is_number = number.isdecimal() and len(number) <= _DIGITS_MAX
    if not is_number or int(number) < 1 or (text != number and int(number) > 100):
        raise click.BadParameter(
            f"{text!r} is neither a number of hosts nor a share such as 25%",
            param_hint="--max-unavailable",
        )
    return text if text != number else int(number)


def target_of(
    environment: str, machine_function: str, targets: Path | None
) -> tuple[str, str, tuple[HostName, ...]]:
    """The target that the options name: environment and machine function, or hosts.

    Raises:
        click.UsageError: no target is named, or two.
        RefusedError, ConfigError: a label or the targets file is wrong.
    """
    by_label = bool(environment or machine_function)
    if by_label == bool(targets) or bool(environment) != bool(machine_function):
        raise click.UsageError("name the target: either --env E and --mf M, or --targets FILE")
    if by_label:
        check_label(environment, "environment")
        check_label(machine_function, "machine function")
    return environment, machine_function, read_targets(targets) if targets else ()


def request_of(
    service: str,
    version: str,
    environment: str,
    machine_function: str,
    targets: Path | None,
    max_unavailable: str | None,
    failure_fraction: float,
    bake: float | None,
    settle: float | None,
    check_index: str = "",
) -> RolloutRequest:
    """The request that the options name; the API judges what only it can know.

    Raises:
        click.UsageError: no target is named, or two.
        RefusedError, ConfigError: a name or the targets file is wrong.
    """
    environment, machine_function, hosts = target_of(environment, machine_function, targets)
    return RolloutRequest(
        service=check_service(service),
        version=check_version(version),
        environment=environment,
        machine_function=machine_function,
        hosts=hosts,
        failure_fraction_max=failure_fraction,
        max_unavailable=parse_max_unavailable(max_unavailable),
        bake_s=bake,
        settle_s=settle,
        check_index=check_index,
    )
