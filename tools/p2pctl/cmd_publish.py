"""``p2pctl publish``: make a directory tree a release."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from p2pctl.documents import PublishReport
from p2pctl.durations import show_duration
from p2pctl.fleet_dir import FleetDir
from p2pctl.names import NAME, VERSION
from p2pctl.options import fleet_option, key_option, output_option
from p2pctl.output import Output, stderr_console
from p2pctl.publishing import PublishProgress, publish_tree
from p2pctl.render.listings import show_bytes
from p2pdeploy.ids import check_service, check_version

__all__ = ["publish", "view_published"]


@click.command("publish")
@click.argument("service", metavar="SVC", type=NAME)
@click.argument("version", metavar="VER", type=VERSION)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@key_option
@output_option
@fleet_option
def publish(
    service: str,
    version: str,
    path: Path,
    key_file: Path | None,
    output: Output,
    fleet: FleetDir,
) -> None:
    """Publish the tree at PATH as release VER of service SVC.

    Only chunks that the registry lacks are sent.  After a kill at any point, run it again: it
    goes on where it was.  The same bytes again are "already published"; other bytes under a
    version that exists are refused.

    The release is signed with DIR/operator/publisher.key, or with the key in --key.  Without one
    it is pending, and no host takes it, until its publishers sign it: 'p2pctl release sign'.
    """
    name, number = check_service(service), check_version(version)
    with fleet.connect() as api, PublishProgress(stderr_console()) as progress:
        report = publish_tree(api, name, number, path, progress, key_file=key_file)
    output.show(report, view_published)


def view_published(report: PublishReport) -> RenderableType:
    """What is published now, what it cost, and who must sign it if anybody must."""
    name = f"{report.service} {report.version}"
    if report.state == "already-published":
        lines = [f"{name} is already published, with these very bytes"]
    else:
        lines = [
            f"published {name}: {show_bytes(report.size_bytes)} in "
            f"{show_duration(report.seconds)}, {show_bytes(report.sent_bytes)} sent, "
            f"{show_bytes(report.reused_bytes - report.repeated_bytes)} known already"
            + (
                f", {show_bytes(report.repeated_bytes)} stand in it more than once"
                if report.repeated_bytes
                else ""
            ),
            f"manifest {report.manifest_digest}",
        ]
    if report.service_added:
        lines.append(f"{report.service} is new: the fleet's publishers sign its releases now")
    if report.release_state == "pending":
        lines.append(
            f"pending, {report.missing_signatures} more must sign: "
            f"p2pctl release sign {report.service} {report.version}"
        )
    return Text("\n".join(lines))
