"""``p2pctl rollout``: plan, start, watch and stop rollouts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from p2pctl.durations import DURATION
from p2pctl.fleet_dir import FleetDir
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note
from p2pctl.render.plan import view_plan
from p2pctl.render.rollout import rollout_line, view_history, view_reasons, view_rollout
from p2pctl.showing import hosts_of, show_live
from p2pctl.targets import naming_lines, read_targets
from p2pctl.watching import find_rollout, follow, is_final
from p2pdeploy.errors import P2PDeployError
from p2pdeploy.ids import check_label, check_service, check_version
from p2pdeploy.messages.api import RolloutRequest, RolloutView

__all__ = ["EXIT_OF_STATUS", "parse_max_unavailable", "rollout"]

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_NO_CHANGE, EXIT_ERROR, EXIT_CHANGES = 0, 1, 2  # of `rollout plan`
EXIT_TIMED_OUT = 2  # of `rollout status`, whose errors exit 1 as well
EXIT_OF_STATUS = {"complete": 0, "rolled-back": 1, "failed": 1, "aborted": 1}
_HISTORY_SHOWN = 20


@click.group("rollout")
def rollout() -> None:
    """Plan, start, watch and stop rollouts.  ID may be 'latest' everywhere."""


class OwnExitCodes(click.Command):
    """A command whose exit code 2 has a sense of its own: its errors, also of usage, exit 1."""

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


def _request_options(command: Command) -> Command:
    """The arguments of plan and apply."""
    options = [
        click.argument("service", metavar="SVC"),
        click.argument("version", metavar="VER"),
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
            type=click.FloatRange(0, 1, max_open=True),
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
    if not number.isdecimal() or int(number) < 1 or (text != number and int(number) > 100):
        raise click.BadParameter(
            f"{text!r} is neither a number of hosts nor a share such as 25%",
            param_hint="--max-unavailable",
        )
    return text if text != number else int(number)


def _request(
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
    by_label = bool(environment or machine_function)
    if by_label == bool(targets) or bool(environment) != bool(machine_function):
        raise click.UsageError("name the target: either --env E and --mf M, or --targets FILE")
    if by_label:
        check_label(environment, "environment")
        check_label(machine_function, "machine function")
    return RolloutRequest(
        service=check_service(service),
        version=check_version(version),
        environment=environment,
        machine_function=machine_function,
        hosts=read_targets(targets) if targets else (),
        failure_fraction_max=failure_fraction,
        max_unavailable=parse_max_unavailable(max_unavailable),
        bake_s=bake,
        settle_s=settle,
        check_index=check_index,
    )


@rollout.command("plan", cls=OwnExitCodes)
@_request_options
@output_option
@fleet_option
def plan(output: Output, fleet: FleetDir, **asked: Any) -> int:
    """Show what a rollout of VER of SVC would do; change nothing.

    Exits with 0 when nothing would change, 2 when something would, 1 on any error.
    """
    with fleet.connect() as api, naming_lines(asked["targets"]):
        found = api.plan_rollout(_request(**asked))
    output.show(found, view_plan)
    return EXIT_CHANGES if found.changes else EXIT_NO_CHANGE


@rollout.command("apply")
@_request_options
@click.option(
    "--check-index", metavar="X", default="", help="Apply only if 'rollout plan' still prints X."
)
@output_option
@fleet_option
def apply(output: Output, fleet: FleetDir, **asked: Any) -> None:
    """Start a rollout of VER of SVC; return as soon as it is accepted."""
    with fleet.connect() as api, naming_lines(asked["targets"]):
        accepted = api.apply_rollout(_request(**asked))
    output.show(accepted, _view_now)
    if not output.is_json:
        note(f"watch it: p2pctl rollout get {accepted.id} -w")


@rollout.command("get")
@click.argument("rollout_id", metavar="ID")
@click.option("--watch", "-w", is_flag=True, help="Follow it until it is final.")
@click.option("--hosts", "with_hosts", is_flag=True, help="A line per host as well.")
@output_option
@fleet_option
def get(rollout_id: str, watch: bool, with_hosts: bool, output: Output, fleet: FleetDir) -> None:
    """Show a rollout as a tree of fault domains; with -w a live one."""
    with fleet.connect() as api:
        found = find_rollout(api, rollout_id)
        if watch:
            show_live(api, found.id, output, with_hosts=with_hosts)
            return
        hosts = hosts_of(api, found) if with_hosts and not output.is_json else None
    output.show(found, partial(view_rollout, now=datetime.now(UTC), hosts=hosts))


@rollout.command("status", cls=OwnExitCodes)
@click.argument("rollout_id", metavar="ID")
@click.option("--timeout", type=DURATION, required=True, help="500ms, 90s, 2.5m, 1h.")
@output_option
@fleet_option
def status(rollout_id: str, timeout: float, output: Output, fleet: FleetDir) -> int:
    """Wait until a rollout is final.

    Exits with 0 when it is complete, 1 when it was rolled back, failed or was aborted, 2 when
    the time was over.
    """
    with fleet.connect() as api:
        found = find_rollout(api, rollout_id)
        for seen in follow(api, found.id, timeout_s=timeout):
            found = seen
    output.show(found, rollout_line)
    if not is_final(found):
        note(f"p2pctl: still {found.state} after {timeout:g} s")
        return EXIT_TIMED_OUT
    return EXIT_OF_STATUS[found.state]


def _order(verb: str, summary: str) -> None:
    @rollout.command(verb, help=summary, short_help=summary)
    @click.argument("rollout_id", metavar="ID")
    @output_option
    @fleet_option
    def order(rollout_id: str, output: Output, fleet: FleetDir) -> None:  # pyright: ignore[reportUnusedFunction] registered
        with fleet.connect() as api:
            found = api.order_rollout(find_rollout(api, rollout_id).id, verb)
        output.show(found, rollout_line)


_order("pause", "Start no further host; what began goes on to its end.")
_order("resume", "Go on with a rollout that was paused.")
_order("abort", "Stop a rollout and bring the hosts that switched back.")
_order("revert", "Bring every host back to the version before.")


@rollout.command("excuse")
@click.argument("rollout_id", metavar="ID")
@click.argument("host_names", metavar="HOST...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why they need not be waited for; it is kept.")
@output_option
@fleet_option
def excuse(
    rollout_id: str, host_names: tuple[str, ...], reason: str, output: Output, fleet: FleetDir
) -> None:
    """Let a rollout go on without the named hosts."""
    with fleet.connect() as api:
        found = api.excuse(find_rollout(api, rollout_id).id, host_names, reason)
    output.show(found, rollout_line)


@rollout.command("why")
@click.argument("rollout_id", metavar="ID")
@click.option("--host", default="", help="Explain this host.")
@output_option
@fleet_option
def why(rollout_id: str, host: str, output: Output, fleet: FleetDir) -> None:
    """Tell why a rollout, or one host of it, stands where it stands."""
    with fleet.connect() as api:
        found = api.why(find_rollout(api, rollout_id).id, host)
    output.show(found, view_reasons)


@rollout.command("history")
@click.argument("service", metavar="[SVC]", default="")
@click.option("--limit", type=click.IntRange(min=1), default=_HISTORY_SHOWN, show_default=True)
@output_option
@fleet_option
def history(service: str, limit: int, output: Output, fleet: FleetDir) -> None:
    """List the rollouts of SVC, or of all services, newest first."""
    with fleet.connect() as api:
        found = api.rollouts(service=check_service(service) if service else "", limit=limit)
    output.show(found, partial(view_history, now=datetime.now(UTC)))


def _view_now(found: RolloutView) -> Any:
    return view_rollout(found, datetime.now(UTC))
