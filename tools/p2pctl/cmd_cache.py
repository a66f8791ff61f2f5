"""``p2pctl cache``: which releases lie on hosts, and deleting those that nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output
from p2pctl.render.caches import view_caches, view_pruned
from p2pdeploy.command_line import EXIT_FAILED
from p2pdeploy.ids import HostName, check_label
from p2pdeploy.messages.cache import CacheTarget, CacheView

__all__ = ["cache"]

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("cache")
def cache() -> None:
    """Which releases lie on hosts, and deleting those that nobody needs."""


def _target_options(command: Command) -> Command:
    """Add ``[HOST]``, ``--env`` and ``--mf``."""
    for option in (
        click.option("--mf", "machine_function", metavar="MF", default="", help="..., and MF."),
        click.option("--env", "environment", metavar="E", default="", help="Hosts of E, ..."),
        click.argument("host", metavar="[HOST]", type=NAME, required=False),
    ):
        command = option(command)
    return command


@cache.command("show")
@_target_options
@output_option
@fleet_option
def show(
    host: str | None, environment: str, machine_function: str, output: Output, fleet: FleetDir
) -> int:
    """Show which releases lie on HOST, or on the hosts of --env E --mf MF, or on all.

    active: a service runs from it; rollback: it goes back to it; planned: an order asks for it, or
    it is being staged; unused: nobody needs it, so it goes when room is needed, or after ten
    minutes; unknown: nobody has asked for it since the daemon started, which was just now.

    Exits with 1 when a host did not answer.
    """
    target = _target(host, environment, machine_function, needed=False)
    with fleet.connect() as api:
        found = api.caches(target)
    output.show(found, view_caches)
    return _exit_code(found)


@cache.command("prune")
@_target_options
@output_option
@fleet_option
def prune(
    host: str | None, environment: str, machine_function: str, output: Output, fleet: FleetDir
) -> int:
    """Delete what is unused on HOST, or on the hosts of --env E --mf MF, now.

    What runs, what a service goes back to and what an order asks for stays.  Needs the role
    rollout-owner.  Exits with 1 when a host did not answer.
    """
    target = _target(host, environment, machine_function, needed=True)
    with fleet.connect() as api:
        found = api.prune_caches(target)
    output.show(found, view_pruned)
    return _exit_code(found)


def _target(
    host: str | None, environment: str, machine_function: str, *, needed: bool
) -> CacheTarget:
    by_label = bool(environment or machine_function)
    if by_label != bool(environment and machine_function) or (by_label and host):
        raise click.UsageError("name the hosts: either HOST, or --env E and --mf MF")
    if needed and not (by_label or host):
        raise click.UsageError("name the hosts whose unused releases go: HOST, or --env E --mf MF")
    if by_label:
        check_label(environment, "environment")
        check_label(machine_function, "machine function")
    return CacheTarget(
        hosts=(HostName(check_label(host, "host name")),) if host else (),
        environment=environment,
        machine_function=machine_function,
    )


def _exit_code(found: Sequence[CacheView]) -> int:
    """Hosts that did not answer are told with the others; a script has to notice."""
    return EXIT_FAILED if any(view.error for view in found) else 0
