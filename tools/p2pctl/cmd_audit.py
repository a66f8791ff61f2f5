"""``p2pctl audit``: what people had the control plane do, and whether the record is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from p2pctl.client import ApiClient
from p2pctl.documents import AuditReport
from p2pctl.fleet_dir import FleetDir, open_fleet_dir
from p2pctl.options import fleet_option, folder_of, output_option
from p2pctl.output import Output, print_json
from p2pctl.render.trust import view_audit
from p2pdeploy.codec import UNDECODABLE
from p2pdeploy.errors import IntegrityError
from p2pdeploy.messages.audit import AuditEntry, follow_chain

__all__ = ["audit"]

_ENTRIES_PER_PAGE = 1_000  # what the API gives at most
_LINE_BYTES_MAX = 64 * 1024  # an entry is below 8 KiB


@click.group("audit")
def audit() -> None:
    """What people had the control plane do."""


@audit.command("export")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Start behind this entry.")
@output_option
@fleet_option
def export(after: int, output: Output, fleet: FleetDir) -> None:
    """Print the audit log as JSON lines, oldest entry first; with -o json errors are JSON, too."""
    del output  # entries have one form; how an error is told was seen already
    with fleet.connect() as api:
        for entry in _entries(api, after):
            print_json(entry)


@audit.command("verify")
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--head",
    metavar="DIGEST",
    default="",
    help="The digest of an entry that was noted before; shows also a log that was cut.",
)
@click.option("--dir", "folder", metavar="DIR", help="The fleet's folder, when no FILE is named.")
@output_option
@click.pass_context
def verify(
    context: click.Context, file: Path | None, head: str, folder: str | None, output: Output
) -> None:
    """Recompute the chain of the audit log, of FILE (from 'audit export') or of the fleet.

    An entry that was changed, removed, put in or moved shows, and exits 1.  Note the digest that
    it prints somewhere else, and name it by --head the next time.
    """
    if file is not None:
        end = follow_chain(_read(file), head=head)
    else:
        with open_fleet_dir(folder_of(context, folder)).connect() as api:
            end = follow_chain(_entries(api, 0), head=head)
    report = AuditReport(entries=end.seq, head=end.digest, unfinished=end.unfinished)
    output.show(report, view_audit)


def _entries(api: ApiClient, after: int) -> Iterator[AuditEntry]:
    while page := api.audit_entries(after=after, limit=_ENTRIES_PER_PAGE):
        yield from page
        if page[-1].seq <= after:
            raise IntegrityError("the control plane answers the same page again")
        after = page[-1].seq


def _read(path: Path) -> Iterator[AuditEntry]:
    """The entries of an exported file; raises IntegrityError for a line that is none."""
    decoder = msgspec.json.Decoder(AuditEntry)
    number = 0
    with path.open("rb") as file:
        while line := file.readline(_LINE_BYTES_MAX):
            number += 1
            try:
                yield decoder.decode(line)
            except UNDECODABLE as error:
                raise IntegrityError(
                    f"not an entry: {error}", where=f"{path}:{number}", code="audit-changed"
                ) from error
