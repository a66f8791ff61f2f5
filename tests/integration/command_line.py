"""The command line of one fleet, as its users and their scripts type it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.schemas import check_document, schema_of

__all__ = ["P2PCTL", "CommandLine", "Done"]

P2PCTL = Path(sys.executable).with_name("p2pctl")
COMMAND_TIMEOUT_S = 180.0  # of any one command; what is slower hangs
_END_TIMEOUT = "150s"  # of a rollout, below the above, so that the command tells how far it came


class Done(NamedTuple):
    """How one run of p2pctl ended.  ``document`` is None when stdout held no JSON."""

    code: int
    document: Any
    out: str
    err: str


class CommandLine:
    """Commands on the fleet in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ctl(self, *arguments: object, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """Run ``p2pctl ARGUMENTS -o json`` on this fleet; its document must fit its schema."""
        run = subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in run.stderr, run.stderr
        try:
            document = json.loads(run.stdout)
        except ValueError:
            document = None
        else:
            words = [str(argument) for argument in arguments]
            check_document(schema_of(words, document), document)
        return Done(run.returncode, document, run.stdout, run.stderr)

    def command(self, *arguments: object) -> list[str]:
        """The command line that :meth:`ctl` runs."""
        words = [str(argument) for argument in arguments]
        return [str(P2PCTL), "--dir", str(self.folder), *words, "-o", "json"]

    def ok(self, *arguments: object) -> Any:
        """Run a command that has to work; return its document."""
        done = self.ctl(*arguments)
        assert done.code == 0, done
        return done.document

    def refused(self, *arguments: object, code: int = 1) -> dict[str, str]:
        """Run a command that has to be refused with *code*; return the error."""
        done = self.ctl(*arguments)
        assert done.code == code, done
        assert set(done.document) == {"error"}, done
        return done.document["error"]

    def up(self, hosts: int = 6, fault_domains: int = 3) -> None:
        """Make the fleet and start it."""
        self.ok("up", "--detach", "--hosts", hosts, "--fault-domains", fault_domains)

    def down(self) -> None:
        """Stop everything."""
        self.ok("down")

    def publish(self, service: str, version: str, tree: Path) -> Any:
        """Publish and return the report."""
        return self.ok("publish", service, version, tree)

    def apply(self, service: str, version: str, *more: object, settle: str = "200ms") -> str:
        """Begin a rollout to every host, or to what *more* says; return its id."""
        target = () if "--targets" in more else ("--env", "lab", "--mf", "web")
        words = ("rollout", "apply", service, version, *target, "--settle", settle, *more)
        accepted = self.ok(*words)
        assert accepted["reasons"], "a state that is not final carries a reason"
        return accepted["id"]

    def finish(self, rollout: str, state: str = "complete") -> Any:
        """Wait for the end of a rollout, which must be *state*; return its document."""
        done = self.ctl("rollout", "status", rollout, "--timeout", _END_TIMEOUT)
        assert done.code == (0 if state == "complete" else 1), done
        assert done.document["state"] == state, done
        return done.document

    def roll_out(self, service: str, version: str, *more: object) -> Any:
        """Apply and finish."""
        return self.finish(self.apply(service, version, *more))
