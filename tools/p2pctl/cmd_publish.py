"""``p2pctl publish``: make a directory tree a release."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from p2pctl.documents import PublishReport
from p2pctl.durations import show_duration
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, stderr_console
from p2pctl.publishing import PublishProgress, publish_tree
from p2pctl.render.listings import show_bytes
from p2pdeploy.ids import check_service, check_version

__all__ = ["publish", "view_published"]


@click.command("publish")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@output_option
@fleet_option
def publish(service: str, version: str, path: Path, output: Output, fleet: FleetDir) -> None:
    """Publish the tree at PATH as release VER of service SVC.

    Only chunks that the registry lacks are sent.  After a kill at any point, run it again: it
    goes on where it was.  The same bytes again are "already published"; other bytes under a
    version that exists are refused.
    """
    name, number = check_service(service), check_version(version)
    with fleet.connect() as api, PublishProgress(stderr_console()) as progress:
        report = publish_tree(api, name, number, path, progress)
    output.show(report, view_published)


def view_published(report: PublishReport) -> RenderableType:
    """Two lines: what is published now, and what it cost."""
    name = f"{report.service} {report.version}"
    if report.state == "already-published":
        return Text(f"{name} is already published, with these very bytes")
    return Text(
        f"published {name}: {show_bytes(report.size_bytes)} in {show_duration(report.seconds)}, "
        f"{show_bytes(report.sent_bytes)} sent, {show_bytes(report.reused_bytes)} known already\n"
        f"manifest {report.manifest_digest}"
    )
