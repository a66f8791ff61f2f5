"""``p2pctl lint``: every fault of a payload, and the settings it would run with."""

from __future__ import annotations

from pathlib import Path

import click

from p2pctl.documents import LintFinding, LintReport
from p2pctl.options import output_option
from p2pctl.output import Output
from p2pctl.render.listings import view_lint
from p2pdeploy.errors import ConfigError, PayloadError
from p2pdeploy.payload.service_spec import effective
from p2pdeploy.payload.service_toml import lint_tree, read_service_toml
from p2pdeploy.payload.walk import walk

__all__ = ["lint", "lint_report"]


@click.command("lint")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@output_option
def lint(path: Path, output: Output) -> int:
    """Check the payload at PATH: every fault with file, line and key, then all settings.

    Needs no fleet.  Exits with 1 when publish would refuse the payload.
    """
    report = lint_report(path)
    output.show(report, view_lint)
    return 0 if report.ok else 1


def lint_report(path: Path) -> LintReport:
    """Judge the tree at *path*; raises ConfigError when it is no directory."""
    if not path.is_dir():
        raise ConfigError("not a directory", where=str(path), code="not-a-directory")
    findings = _file_findings(path)
    seen = {finding.file for finding in findings}
    findings += [fault for fault in _tree_faults(path) if fault.file not in seen]
    ok = not any(finding.severity == "error" for finding in findings)
    try:
        settings = effective(read_service_toml(path))
    except PayloadError:
        settings = None  # its reasons are among the findings
    return LintReport(ok=ok, findings=findings, effective=settings)


def _file_findings(path: Path) -> list[LintFinding]:
    """All faults of the service.toml; one when there is none that can be read."""
    try:
        found = lint_tree(path)
    except PayloadError as error:
        return [_as_finding(error)]
    return [
        LintFinding(
            file=finding.file,
            line=finding.line,
            key=finding.key,
            message=finding.message,
            hint=finding.hint,
            severity=finding.severity,
        )
        for finding in found
    ]


def _tree_faults(path: Path) -> list[LintFinding]:
    """What publish would refuse about the files themselves: the first fault, as publish has it."""
    try:
        walk(path)
    except PayloadError as error:
        return [_as_finding(error)]
    return []


def _as_finding(error: PayloadError) -> LintFinding:
    return LintFinding(
        file=error.where,
        line=0,
        key="",
        message=error.message,
        hint=error.hint,
        severity="error",
    )
