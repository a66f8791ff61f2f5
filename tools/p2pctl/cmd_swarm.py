"""``p2pctl swarm``: how releases spread."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option
from p2pctl.output import note, print_json
from p2pctl.watching import find_rollout
from p2pdeploy.errors import ConfigError

__all__ = ["swarm"]


@click.group("swarm")
def swarm() -> None:
    """How releases spread over their hosts."""


@swarm.command("plot")
@click.argument("rollout_id", metavar="ROLLOUT", type=NAME)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["svg", "json"]),
    default="svg",
    show_default=True,
    help="svg for people, json has the points.",
)
@click.option(
    "--file",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the SVG goes; else stdout.",
)
@fleet_option
def plot(rollout_id: str, form: str, path: Path | None, fleet: FleetDir) -> None:
    """Draw the coverage of a rollout's release over time, against the limit.

    ROLLOUT may be 'latest'.
    """
    if form == "json" and path is not None:
        raise click.BadParameter("it is for the SVG; JSON goes to stdout", param_hint="--file")
    with fleet.connect() as api:
        spread = api.rollout_spread(find_rollout(api, rollout_id).id)
    if form == "json":
        print_json(spread)
        return
    from p2pctl.render.coverage_svg import coverage_svg

    drawn = coverage_svg(spread)
    if path is None:
        sys.stdout.write(drawn)
        return
    try:
        path.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the plot: {error.strerror}", where=str(path)) from error
    note(f"drawn: {path}")
