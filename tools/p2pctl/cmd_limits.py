"""``p2pctl limits``: how much of the network the hosts may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.rate_option import RATE, Rate
from p2pctl.render.limits import view_host_limits, view_limit, view_limits
from p2pdeploy.messages.limits import LimitRequest, LimitTarget

__all__ = ["limits"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _target_options(command: Command) -> Command:
    """Whom a limit is for; the command gets ``host``, ``cell``, ``environment`` and so on."""
    options = [
        click.option("--host", metavar="H", type=NAME, help="One host."),
        click.option("--cell", metavar="C", type=NAME, help="What enters one cell from outside."),
        click.option("--env", "environment", metavar="E", type=NAME, help="With --mf: each cell."),
        click.option("--mf", "machine_function", metavar="MF", type=NAME, help="With --env."),
        click.option(
            "--each-host",
            is_flag=True,
            help="With --cell, or --env and --mf: all that each of its hosts moves, instead.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _target_of(words: dict[str, Any]) -> LimitTarget:
    target = LimitTarget(**{name: word for name, word in words.items() if word is not None})
    by_label = bool(target.environment), bool(target.machine_function)
    if by_label[0] != by_label[1]:
        raise click.UsageError("--env and --mf go together")
    if [bool(target.host), bool(target.cell), by_label[0]].count(True) != 1:
        raise click.UsageError("name one of --host H, --cell C, or --env E and --mf M")
    if target.host and target.each_host:
        raise click.UsageError("--each-host goes with --cell, or --env and --mf")
    return target


@click.group("limits")
def limits() -> None:
    """How much of the network the hosts may use for builds.

    A limit holds within seconds, also for what is under way, and until it is cleared.  A host's
    own goes before its cell's, and that before the one of its environment and machine function.
    """


@limits.command("set")
@click.argument("rate", metavar="RATE", type=RATE)
@click.option("--upload", metavar="RATE", help="Of hosts: another rate for what they send.")
@_target_options
@output_option
@fleet_option
def set_limit(
    rate: Rate, upload: str | None, output: Output, fleet: FleetDir, **words: Any
) -> None:
    """Let hosts move no more than RATE: 200Mbit/s, 25MB/s, 512KiB/s, unlimited.

    Of a host in each direction.  Of a cell what enters it from outside, of all its hosts together;
    what they give each other inside is free.
    """
    target = _target_of(words)
    is_uplink = not (target.host or target.each_host)
    if is_uplink and upload is not None:
        raise click.UsageError("--upload is of hosts: only what enters a cell can be limited")
    sent = None if is_uplink else rate if upload is None else _upload_of(upload)
    request = LimitRequest(target=target, download_bytes_per_s=rate, upload_bytes_per_s=sent)
    with fleet.connect() as api:
        output.show(api.set_limit(request), view_limit)


def _upload_of(text: str) -> Rate:
    return RATE.convert(text, None, None)


@limits.command("clear")
@_target_options
@output_option
@fleet_option
def clear_limit(output: Output, fleet: FleetDir, **words: Any) -> None:
    """Take a limit back, and show it; an error (no-limit) when none is set there."""
    target = _target_of(words)
    with fleet.connect() as api:
        output.show(api.clear_limit(target), view_limit)


@limits.command("get")
@click.option("--host", metavar="H", type=NAME, help="One host, and what it keeps to right now.")
@output_option
@fleet_option
def get_limits(host: str | None, output: Output, fleet: FleetDir) -> None:
    """List the limits that are set; of one host also what it keeps to, and why.

    The reason is configured, pressure (its own services need the machine) or none.
    """
    with fleet.connect() as api:
        if host is not None:
            output.show(api.host_limits(host), view_host_limits)
            return
        output.show(api.limits(), view_limits)
