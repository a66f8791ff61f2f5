"""``p2pdaemon``: run a host's daemon, or stop its services when the daemon is down."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click
import trio

from p2pdaemon.config import load_config
from p2pdaemon.log import configure_log, get_logger
from p2pdeploy.command_line import run_program

__all__ = ["main"]

PRIVATE_UMASK = 0o077  # what the daemon writes is nobody else's; services get their own umask

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The host's daemon.toml.",
)


_TOKEN_CHARACTERS_MAX = 1_024  # a join token is 250


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The p2pdeploy daemon of one host."""


@cli.command()
@_config_option
def run(config_path: Path) -> None:
    """Run the daemon until SIGTERM; services go on running without it."""

    async def work() -> None:
        # libtorrent and the rest are loaded only by the command that needs them.
        from p2pdaemon.run import run_daemon

        config = load_config(config_path)
        configure_log(config.log_path)
        await run_daemon(config)

    _run(work)


@cli.command()
@_config_option
def stop_services(config_path: Path) -> None:
    """Stop this host's services; its daemon must be down."""

    async def work() -> None:
        from p2pdaemon.state_lock import only_daemon
        from p2pdaemon.stop_services import stop_services

        config = load_config(config_path)
        with only_daemon(config.state_dir):
            for name in await stop_services(config):
                click.echo(f"stopped {name}", err=True)

    _run(work)


@cli.command()
@click.argument("token", required=False)
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead of a token: this host's certificate of the company's CA, and its issuers'.",
)
@click.option("--key", type=click.Path(dir_okay=False, path_type=Path), help="Its private key.")
@click.option(
    "--authority",
    metavar="FILE|HEX",
    help="With --certificate: the fleet CA (ca/fleet.pem) or its SHA-256.",
)
@click.option("--again", is_flag=True, help="Join anew, though there is an identity already.")
@_config_option
def join(
    token: str | None,
    certificate: Path | None,
    key: Path | None,
    authority: str | None,
    again: bool,
    config_path: Path,
) -> None:
    """Join a fleet as the host that the configuration names.

    By a join TOKEN: with ``-`` it is read from standard input, where no other user's ``ps`` shows
    it.  Or by --certificate, --key and --authority, when the fleet trusts the company's CA.
    """
    if token is None:
        if certificate is None or key is None or authority is None:
            raise click.UsageError("name a TOKEN, or --certificate, --key and --authority")
    elif certificate or key or authority:
        raise click.UsageError("a TOKEN needs no certificate, key nor authority")

    async def work() -> None:
        config = load_config(config_path)
        if token is not None:
            from p2pdaemon.join import join

            text = sys.stdin.readline(_TOKEN_CHARACTERS_MAX) if token == "-" else token
            said = await join(config, text, again=again)
        else:
            from p2pdaemon.join_by_certificate import (
                join_by_certificate,
                load_company_certificate,
                read_pin,
            )

            assert certificate is not None
            assert key is not None
            assert authority is not None
            proof = load_company_certificate(certificate, key)
            said = await join_by_certificate(config, proof, read_pin(authority), again=again)
        click.echo(said, err=True)

    _run(work)


@cli.command()
@_config_option
def renew(config_path: Path) -> None:
    """Renew this host's certificates now; a running daemon takes them at its next start.

    The daemon does this by itself at half of their life.
    """

    async def work() -> None:
        import datetime

        from p2pdaemon.renew import order_of, renew

        expires_at = await renew(order_of(load_config(config_path)))
        until = datetime.datetime.fromtimestamp(expires_at, datetime.UTC)
        click.echo(f"certificates hold until {until:%Y-%m-%dT%H:%M:%SZ}", err=True)

    _run(work)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    os.umask(PRIVATE_UMASK)
    trio.run(work)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point.  Errors are one line on stderr; the exit code is the error's."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(run_program("p2pdaemon", cli, words, log_defect=_log_defect))


def _log_defect() -> None:
    get_logger("daemon").exception("daemon crashed")


if __name__ == "__main__":
    main()
