"""``p2pctl prefetch``: bring bytes to hosts ahead of a rollout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from p2pctl.durations import DURATION
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME, VERSION
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note
from p2pctl.polling import poll
from p2pctl.render.prefetch import prefetch_line, view_prefetch, view_prefetches
from p2pctl.rollout_request import target_of
from p2pctl.targets import naming_lines
from p2pdeploy.ids import check_service, check_version
from p2pdeploy.limits import PREFETCH_KEEP_MAX_S, PREFETCH_KEEP_S
from p2pdeploy.messages.prefetch import PrefetchRequest, PrefetchView

__all__ = ["prefetch"]

_BEGIN = "begin"


class _BeginsByDefault(click.Group):
    """``prefetch SVC VER`` is ``prefetch begin SVC VER``; a service may be called ``list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_BEGIN, *args]
        return super().parse_args(ctx, args)


@click.group("prefetch", cls=_BeginsByDefault)
def prefetch() -> None:
    """Bring a release to hosts ahead of its rollout: prefetch SVC VER --env E --mf M.

    They fetch it, verify it and keep it; nothing is activated.
    """


@prefetch.command(_BEGIN)
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
@click.option("--env", "environment", metavar="E", default="", help="Target environment.")
@click.option("--mf", "machine_function", metavar="MF", default="", help="Target machine function.")
@click.option(
    "--targets", type=click.Path(path_type=Path), help="A file with one target machine a line."
)
@click.option(
    "--for",
    "keep_s",
    type=DURATION,
    default=PREFETCH_KEEP_S,
    help=f"Keep it this long  [default: {PREFETCH_KEEP_S / 3600:.0f}h]",
)
@output_option
@fleet_option
def begin(
    service: str,
    version: str,
    environment: str,
    machine_function: str,
    targets: Path | None,
    keep_s: float,
    output: Output,
    fleet: FleetDir,
) -> None:
    """Bring VER of SVC to the target; return as soon as it is accepted."""
    if not 0 < keep_s <= PREFETCH_KEEP_MAX_S:
        raise click.BadParameter("it is kept for up to 30 days (720h)", param_hint="--for")
    environment, machine_function, hosts = target_of(environment, machine_function, targets)
    request = PrefetchRequest(
        service=check_service(service),
        version=check_version(version),
        environment=environment,
        machine_function=machine_function,
        hosts=hosts,
        keep_s=keep_s,
    )
    with fleet.connect() as api, naming_lines(targets):
        accepted = api.begin_prefetch(request)
    output.show(accepted, prefetch_line)
    if not output.is_json:
        note(f"watch it: p2pctl prefetch get {service} {version} -w")


@prefetch.command("list")
@click.argument("service", metavar="[SVC]", required=False, type=NAME)
@output_option
@fleet_option
def list_prefetches(service: str | None, output: Output, fleet: FleetDir) -> None:
    """List what is prefetched, of SVC or of all services."""
    with fleet.connect() as api:
        found = api.prefetches(check_service(service) if service else "")
    output.show(found, view_prefetches)


@prefetch.command("get")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
@click.option("--watch", "-w", is_flag=True, help="Wait until every host has it.")
@output_option
@fleet_option
def get(service: str, version: str, watch: bool, output: Output, fleet: FleetDir) -> None:
    """Show how far each host is with VER of SVC; with -w wait until all of them have it."""
    with fleet.connect() as api:
        look = partial(api.prefetch, check_service(service), check_version(version))
        found = look()
        for _ in poll(None) if watch else ():
            seen = look()
            if seen.staged != found.staged and not output.is_json:
                note(prefetch_line(seen))
            found = seen
            if found.staged == found.total:
                break
    output.show(found, view_prefetch)


@prefetch.command("cancel")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
@output_option
@fleet_option
def cancel(service: str, version: str, output: Output, fleet: FleetDir) -> None:
    """Let hosts delete VER of SVC, unless a rollout asks for it or it runs."""
    with fleet.connect() as api:
        ended: PrefetchView = api.cancel_prefetch(check_service(service), check_version(version))
    output.show(ended, prefetch_line)
