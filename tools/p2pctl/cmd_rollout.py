"""``p2pctl rollout``: plan, start, watch and stop rollouts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from p2pctl.client import ApiClient
from p2pctl.cmd_rollout_sign import sign
from p2pctl.durations import DURATION
from p2pctl.exit_codes import OwnExitCodes
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note, print_error
from p2pctl.polling import left_s
from p2pctl.render.plan import view_plan
from p2pctl.render.rollout import rollout_line, view_history, view_reasons, view_rollout
from p2pctl.rollout_request import request_of, request_options
from p2pctl.showing import show_live
from p2pctl.targets import naming_lines
from p2pctl.watching import find_rollout, follow, is_final
from p2pdeploy.errors import UnavailableError
from p2pdeploy.ids import HostName, check_service
from p2pdeploy.messages.api import RolloutPlanView, RolloutView
from p2pdeploy.messages.attestation import REASON_CHARS_MAX

__all__ = ["EXIT_OF_STATUS", "rollout"]

EXIT_NO_CHANGE, EXIT_CHANGES = 0, 2  # of `rollout plan`
EXIT_TIMED_OUT = 2  # of `rollout status`, whose errors exit 1 as well
EXIT_OF_STATUS = {"complete": 0, "rolled-back": 1, "failed": 1, "aborted": 1}
_HISTORY_SHOWN = 20


@click.group("rollout")
def rollout() -> None:
    """Plan, start, watch and stop rollouts.  ID may be 'latest' everywhere."""


rollout.add_command(sign)


@rollout.command("plan", cls=OwnExitCodes)
@request_options
@output_option
@fleet_option
def plan(output: Output, fleet: FleetDir, **asked: Any) -> int:
    """Show what a rollout of VER of SVC would do; change nothing.

    Exits with 0 when nothing would change, 2 when something would, 1 on any error.
    """
    with fleet.connect() as api, naming_lines(asked["targets"]):
        found = api.plan_rollout(request_of(**asked))
        revoked = frozenset[HostName]() if output.is_json else _revoked_of(api, found)
    output.show(found, partial(view_plan, revoked=revoked))
    return EXIT_CHANGES if found.changes else EXIT_NO_CHANGE


def _revoked_of(api: ApiClient, plan: RolloutPlanView) -> frozenset[HostName]:
    """The hosts that a plan leaves out because they were put out of the fleet."""
    cells = [cell.cell for cell in plan.cells if cell.absent]
    hosts = [h for cell in cells for h in api.hosts(filters=(f"cell={cell}",))]
    return frozenset(host.name for host in hosts if host.revoked)


@rollout.command("apply")
@request_options
@click.option(
    "--check-index", metavar="X", default="", help="Apply only if 'rollout plan' still prints X."
)
@output_option
@fleet_option
def apply(output: Output, fleet: FleetDir, **asked: Any) -> None:
    """Start a rollout of VER of SVC; return as soon as it is accepted.

    Where people approve rollouts it waits for their signatures: 'p2pctl rollout sign'.
    """
    with fleet.connect() as api, naming_lines(asked["targets"]):
        accepted = api.apply_rollout(request_of(**asked))
    output.show(accepted, _view_now)
    if output.is_json:
        return
    if accepted.state == "unsigned":
        note(f"it begins once it is signed: p2pctl rollout sign {accepted.id} --key FILE")
    else:
        note(f"watch it: p2pctl rollout get {accepted.id} -w")


@rollout.command("get")
@click.argument("rollout_id", metavar="ID", type=NAME)
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
        hosts = api.rollout_hosts(found.id) if with_hosts and not output.is_json else None
    output.show(found, partial(view_rollout, now=datetime.now(UTC), hosts=hosts))


@rollout.command("status", cls=OwnExitCodes)
@click.argument("rollout_id", metavar="ID", type=NAME)
@click.option("--timeout", type=DURATION, required=True, help="500ms, 90s, 2.5m, 1h.")
@output_option
@fleet_option
def status(rollout_id: str, timeout: float, output: Output, fleet: FleetDir) -> int:
    """Wait until a rollout is final.

    Exits with 0 when it is complete, 1 when it was rolled back, failed or was aborted, 2 when
    the time was over.
    """
    found, lost = _last_seen(fleet, rollout_id, timeout)
    if found is None:
        assert lost is not None
        print_error(lost, output)
        return EXIT_TIMED_OUT
    output.show(found, rollout_line)
    if not is_final(found):
        note(f"p2pctl: still {found.state} after {timeout:g} s")
        if lost is not None:
            note(f"p2pctl: {lost}")
        return EXIT_TIMED_OUT
    return EXIT_OF_STATUS[found.state]


def _last_seen(
    fleet: FleetDir, rollout_id: str, timeout_s: float
) -> tuple[RolloutView | None, UnavailableError | None]:
    """The rollout when it was final or the time was over, and why the last look failed, if it did.

    Raises:
        UnavailableError: the control plane is down, which is known before the time is over.
    """
    deadline = time.monotonic() + timeout_s
    found: RolloutView | None = None
    try:
        with fleet.connect() as api:
            found = find_rollout(api, rollout_id, timeout_s=timeout_s)
            if is_final(found) or left_s(deadline) <= 0:
                return found, None  # the one look that even 0s has
            for seen in follow(api, found.id, timeout_s=left_s(deadline)):
                found = seen
    except UnavailableError as error:
        if left_s(deadline) > 0:
            raise
        return found, error
    return found, None


def _order(verb: str, summary: str) -> None:
    @rollout.command(verb, help=summary, short_help=summary)
    @click.argument("rollout_id", metavar="ID", type=NAME)
    @output_option
    @fleet_option
    def order(rollout_id: str, output: Output, fleet: FleetDir) -> None:  # pyright: ignore[reportUnusedFunction] registered
        with fleet.connect() as api:
            found = api.order_rollout(find_rollout(api, rollout_id).id, verb)
        output.show(found, rollout_line)


_order("pause", "Start no further host; what began goes on to its end.")
_order("resume", "Go on with a rollout that was paused.")
_order("retry", "Let the hosts that failed try again; the brakes count anew.")
_order("abort", "Stop a rollout and bring the hosts that switched back.")
_order("revert", "Bring every host back to the version before.")


@rollout.command("excuse")
@click.argument("rollout_id", metavar="ID", type=NAME)
@click.argument("host_names", metavar="HOST...", nargs=-1, required=True, type=NAME)
@click.option("--reason", required=True, help="Why they need not be waited for; it is kept.")
@output_option
@fleet_option
def excuse(
    rollout_id: str, host_names: tuple[str, ...], reason: str, output: Output, fleet: FleetDir
) -> None:
    """Let a rollout go on without the named hosts."""
    if len(reason) > REASON_CHARS_MAX:
        raise click.BadParameter(
            f"{len(reason)} characters; it may have {REASON_CHARS_MAX}", param_hint="--reason"
        )
    with fleet.connect() as api:
        found = api.excuse(find_rollout(api, rollout_id).id, host_names, reason)
    output.show(found, rollout_line)


@rollout.command("why")
@click.argument("rollout_id", metavar="ID", type=NAME)
@click.option("--host", metavar="HOST", type=NAME, help="Explain this host.")
@output_option
@fleet_option
def why(rollout_id: str, host: str | None, output: Output, fleet: FleetDir) -> None:
    """Tell why a rollout, or one host of it, stands where it stands."""
    with fleet.connect() as api:
        found = api.why(find_rollout(api, rollout_id).id, host or "")
    output.show(found, view_reasons)


@rollout.command("history")
@click.argument("service", metavar="[SVC]", required=False, type=NAME)
@click.option("--limit", type=click.IntRange(min=1), default=_HISTORY_SHOWN, show_default=True)
@output_option
@fleet_option
def history(service: str | None, limit: int, output: Output, fleet: FleetDir) -> None:
    """List the rollouts of SVC, or of all services, newest first."""
    with fleet.connect() as api:
        found = api.rollouts(service=check_service(service) if service else "", limit=limit)
    output.show(found, partial(view_history, now=datetime.now(UTC)))


def _view_now(found: RolloutView) -> Any:
    return view_rollout(found, datetime.now(UTC))
