"""``p2psim``: run the production cores in simulated worlds, many seeds, every fault."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from p2pdeploy.command_line import run_program
from p2psim.report import Report, collect, summary_lines

HOSTS = click.option("--hosts", default=12, show_default=True, help="Hosts of the cell.")
FDS = click.option("--fds", default=3, show_default=True, help="Fault domains of the cell.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run the production cores on a simulated clock, network, disk and process table."""


class SeedRange(click.ParamType[range]):
    """``A..B``: seeds A up to and without B; a single number is that seed."""

    name = "seeds"

    def convert(
        self, value: str | range, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        if isinstance(value, range):
            return value
        first, dots, last = value.partition("..")
        try:
            seeds = range(int(first), int(last) if dots else int(first) + 1)
        except ValueError:
            self.fail(f"{value!r} is not a range of seeds like 0..200", param, ctx)
        if not seeds:
            self.fail(f"{value!r} holds no seed", param, ctx)
        return seeds


@cli.command()
@HOSTS
@FDS
@click.option("--seeds", type=SeedRange(), default="0..20", show_default=True, metavar="A..B")
@click.option("--jobs", default=0, help="Processes; 0 takes one per core.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def activation(hosts: int, fds: int, seeds: range, jobs: int, output: str) -> None:
    """Roll three builds over a cell per seed, under faults, and check every invariant.

    Exits 1 when one was violated, with the command that replays it.
    """
    _check_size(hosts, fds)
    report = collect(seeds, hosts=hosts, fault_domains=fds, jobs=jobs, progress=output == "text")
    if output == "json":
        click.echo(report.to_json())
    else:
        click.echo("\n".join(summary_lines(report)))
    sys.exit(_exit_code(report))


@cli.command()
@HOSTS
@FDS
@click.option("--seed", required=True, type=int)
@click.option("--trace", is_flag=True, help="Print what happened, one line each.")
def replay(hosts: int, fds: int, seed: int, trace: bool) -> None:
    """Run one seed again, exactly; exits 1 when an invariant was violated."""
    from p2psim.run import run_seed

    _check_size(hosts, fds)
    verdict = run_seed(seed, hosts=hosts, fault_domains=fds, trace=click.echo if trace else None)
    for violation in verdict.violations:
        click.echo(f"{violation.invariant} at {violation.at_s:g} s: {violation.detail}", err=True)
    click.echo(f"seed {seed}: {len(verdict.violations)} violations, trace {verdict.trace_hash}")
    sys.exit(1 if verdict.violations else 0)


def _check_size(hosts: int, fds: int) -> None:
    if not 1 <= fds <= hosts <= 1_000:
        raise click.BadParameter("1 <= --fds <= --hosts <= 1000 must hold")


def _exit_code(report: Report) -> int:
    return 1 if report.violations else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point.  Errors are one line on stderr; the exit code is the error's."""
    sys.exit(run_program("p2psim", cli, sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
