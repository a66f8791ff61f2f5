"""The commands there are, and how every run of one ends.

================  ==========================================================
exit code         meaning
================  ==========================================================
0                 done
1                 refused or failed; nothing, or what the error says, changed
2                 the command line or a configuration file is wrong
130               interrupted with Ctrl-C
================  ==========================================================

``rollout plan`` and ``rollout status`` use 2 in their own sense, which their help tells.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TextIO, cast

import click

from p2pctl.fleet_dir import FOLDER_VARIABLE
from p2pctl.lazy_group import LazyCommand, LazyGroup
from p2pctl.output import Output, WatchedStream, note, print_error, replace_unprintable
from p2pdeploy.command_line import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    abandon_stdout,
    as_told,
    hold_standard_streams,
    require_text,
    usage_error,
)

__all__ = ["main_group", "run"]

COMMANDS = {
    "up": LazyCommand("p2pctl.cmd_lab:up", "Start a fleet of real processes on this machine."),
    "down": LazyCommand("p2pctl.cmd_lab:down", "Stop that fleet and its services."),
    "demo": LazyCommand("p2pctl.cmd_demo:demo", "Show the whole product at work, and check it."),
    "lint": LazyCommand("p2pctl.cmd_lint:lint", "Check a payload; print its settings."),
    "publish": LazyCommand("p2pctl.cmd_publish:publish", "Publish a payload as a release."),
    "release": LazyCommand("p2pctl.cmd_release:release", "Show what is published."),
    "rollout": LazyCommand("p2pctl.cmd_rollout:rollout", "Plan, start, watch and stop rollouts."),
    "swarm": LazyCommand("p2pctl.cmd_swarm:swarm", "How releases spread over their hosts."),
    "prefetch": LazyCommand(
        "p2pctl.cmd_prefetch:prefetch", "Bring a release to hosts ahead of its rollout."
    ),
    "hosts": LazyCommand("p2pctl.cmd_hosts:hosts", "List hosts and what runs on them."),
    "cache": LazyCommand("p2pctl.cmd_cache:cache", "Which releases lie on hosts, and why."),
    "fleet": LazyCommand("p2pctl.cmd_fleet:fleet", "Which versions run, and where."),
    "limits": LazyCommand("p2pctl.cmd_limits:limits", "How much of the network hosts may use."),
    "enroll": LazyCommand("p2pctl.cmd_enroll:enroll", "Let hosts in, and put them out."),
    "auth": LazyCommand("p2pctl.cmd_auth:auth", "People and jobs: who may do what."),
    "audit": LazyCommand("p2pctl.cmd_audit:audit", "What people did; check that it is all there."),
    "keys": LazyCommand("p2pctl.cmd_keys:keys", "Where the signing keys are, and belong."),
    "logs": LazyCommand("p2pctl.cmd_logs:logs", "Print what a service on a host wrote."),
}


@click.group(
    "p2pctl",
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    envvar=FOLDER_VARIABLE,
    help="The fleet's folder, as 'p2pctl up --dir DIR' made it.",
)
@click.version_option(package_name="p2pdeploy")
def main_group(folder: str | None) -> None:
    """Distribute builds peer to peer; activate them fault domain by fault domain."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.  Never raises, never prints a traceback."""
    is_closed = sys.stdout is None  # pyright: ignore[reportUnnecessaryComparison] of `>&-`
    hold_standard_streams()
    if is_closed:
        note("p2pctl: stdout is closed (send it to /dev/null if nobody reads it)")
        return EXIT_FAILED
    replace_unprintable()
    stdout = WatchedStream(sys.stdout)
    try:
        with redirect_stdout(cast(TextIO, stdout)):
            code = _run(arguments, _output_asked(arguments), stdout)
            stdout.flush()  # what is still buffered may be what does not fit
        return code
    except BrokenPipeError:  # the reader of stdout left (`| head`)
        abandon_stdout()
        return EXIT_FAILED
    except OSError as error:
        abandon_stdout()
        note(f"p2pctl: cannot write the output: {error.strerror}")
        return EXIT_FAILED


def _run(arguments: Sequence[str], output: Output, stdout: WatchedStream) -> int:
    """As :func:`run`; raises OSError when stdout takes nothing more."""
    try:
        require_text(arguments)
        result = main_group.main(list(arguments), prog_name="p2pctl", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        note(error.format_message())
        return EXIT_USAGE
    except click.ClickException as error:
        print_error(usage_error(error), output)
        return error.exit_code
    except SystemExit:
        raise
    except BaseException as error:
        if stdout.failed and isinstance(error, OSError):
            raise
        told = as_told(error)
        print_error(told, output)
        return EXIT_INTERRUPTED if told.code == "interrupted" else told.exit_code


def _output_asked(arguments: Sequence[str]) -> Output:
    """The output format, found without parsing: a command line that is wrong has one too."""
    words = list(arguments)
    if "--" in words:
        words = words[: words.index("--")]
    pairs = zip(words, [*words[1:], ""], strict=True)
    asked = any(
        word in ("-ojson", "--output=json") or (word in ("-o", "--output") and after == "json")
        for word, after in pairs
    )
    return Output("json") if asked else Output()
