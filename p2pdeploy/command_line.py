"""How a run of any of our programs ends: one line on stderr and an exit code, never a traceback.

================  ==========================================================
exit code         meaning
================  ==========================================================
0                 done
1                 refused or failed
2                 the command line or a configuration file is wrong
130               interrupted with Ctrl-C
================  ==========================================================
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import click

from p2pdeploy.errors import ConfigError, P2PDeployError, UnavailableError
from p2pdeploy.printable import printable

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_USAGE",
    "abandon_stdout",
    "as_told",
    "hold_standard_streams",
    "is_text",
    "require_text",
    "run_program",
    "usage_error",
]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

# What a machine may answer to a call that names no file; every other such answer is our defect.
_MACHINE_SAYS_NO = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EPIPE,
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_CANNOT_LISTEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
_LINE_CHARS_MAX = 500  # of what a library says; the log has the rest


def run_program(
    name: str,
    command: click.Command,
    arguments: Sequence[str],
    *,
    log_defect: Callable[[], None] = lambda: None,
) -> int:
    """Run one command line of program *name* and return its exit code.

    Args:
        name: As people type it.
        command: Its click command or group.
        arguments: What follows the name.
        log_defect: Called while an unexpected exception is handled, to log it in full.
    """
    hold_standard_streams()
    try:
        code = _run(name, command, arguments)
        sys.stdout.flush()  # what is still buffered may be what does not fit
        return code
    except SystemExit:
        raise
    except BaseException as error:
        told = as_told(error)
        if told.code == "internal":
            log_defect()
        if isinstance(error, OSError) and error.filename is None:
            abandon_stdout()
        return _end(name, told, EXIT_INTERRUPTED if told.code == "interrupted" else told.exit_code)


def _run(name: str, command: click.Command, arguments: Sequence[str]) -> int:
    try:
        require_text(arguments)
        result = command.main(list(arguments), prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as error:
        return _end(name, usage_error(error), error.exit_code)


def _end(name: str, error: P2PDeployError, code: int) -> int:
    click.echo(printable(f"{name}: {error}"), err=True)
    return code


def usage_error(error: click.ClickException) -> P2PDeployError:
    """What click says of a wrong command line, as an error of ours: one line."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see '{context.command_path} --help'" if context else ""
    return P2PDeployError(_one_line(error.format_message()), hint=hint, code="usage")


def require_text(arguments: Sequence[str]) -> None:
    """Refuse a command line that is not UTF-8: all that we print and store of it is.

    Raises:
        ConfigError: one of *arguments* has bytes that are not UTF-8.
    """
    for number, argument in enumerate(arguments, start=1):
        if not is_text(argument):
            raise ConfigError(f"argument {number} is not UTF-8: {argument!r}", code="not-text")


def is_text(text: str) -> bool:
    """Whether *text* is UTF-8: bytes that are not stand in Python's paths as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_told(error: BaseException) -> P2PDeployError:
    """Say what ended a run, whatever it was, in one sentence.

    Ours stay as they are; what the machine refused is told as it says it; of several at once the
    first of those is meant.  All else is a defect of ours (``internal``).
    """
    causes = list(_leaves(error))
    if any(isinstance(cause, KeyboardInterrupt | click.Abort) for cause in causes):
        return P2PDeployError("interrupted", code="interrupted")
    for cause in causes:
        if isinstance(cause, P2PDeployError):
            return cause
    for cause in causes:
        if isinstance(cause, OSError) and (told := _refused_by_machine(cause)) is not None:
            return told
    return _defect(causes[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _refused_by_machine(error: OSError) -> P2PDeployError | None:
    """None: nothing that a machine does to a program without fault."""
    text = error.strerror or ""
    if error.errno in _CANNOT_LISTEN:
        return ConfigError(f"cannot listen: {text}", hint="is it running already?")
    if error.filename is None and error.errno not in _MACHINE_SAYS_NO:
        return None
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if error.errno in _NO_ROOM:
        return UnavailableError(f"cannot be written: {text}", where=where, code="disk")
    return UnavailableError(text, where=where, code="file")


def _defect(error: BaseException) -> P2PDeployError:
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    file = os.path.basename(frame.tb_frame.f_code.co_filename) if frame else ""
    return P2PDeployError(
        f"internal error {type(error).__name__}: {_one_line(str(error))}",
        where=f"{file}:{frame.tb_lineno}" if frame else "",
        hint="this is a defect; please report this line to the project's issue tracker",
        code="internal",
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LINE_CHARS_MAX]


def hold_standard_streams() -> None:
    """Fill what the caller closed of descriptors 0 to 2.

    Otherwise the next file that is opened takes that number, and gets what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
    # Closed, it is None, which the type of sys.stdout does not know.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 lives as long as we do
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 likewise


def abandon_stdout() -> None:
    """Point stdout elsewhere: Python writes what is left of it at exit, and would complain."""
    sink = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # one that is no file has nothing left
        os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
