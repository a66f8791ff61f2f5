"""``p2pctl logs``: what a service on a host wrote to its standard output and error."""

from __future__ import annotations

import sys

import click

from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, print_json
from p2pdeploy.ids import check_label, check_service
from p2pdeploy.printable import printable

__all__ = ["logs"]

_LINES_SHOWN = 100
_LINES_MAX = 10_000  # a daemon answers from memory; more belongs into a log store


@click.command("logs")
@click.argument("host", metavar="HOST", type=NAME)
@click.argument("service", metavar="SVC", type=NAME)
@click.option(
    "--lines", "-n", type=click.IntRange(1, _LINES_MAX), default=_LINES_SHOWN, show_default=True
)
@output_option
@fleet_option
def logs(host: str, service: str, lines: int, output: Output, fleet: FleetDir) -> None:
    """Print the last lines that service SVC wrote on HOST."""
    with fleet.connect() as api:
        found = api.logs(check_label(host, "host name"), check_service(service), lines=lines)
    if output.is_json:
        print_json(found)
        return
    for line in found.lines:  # no markup of ours; the daemon that sends them may be anybody's
        sys.stdout.write(printable(line, besides="\t") + "\n")
