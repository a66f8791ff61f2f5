"""What is read from disk: configuration that people write, and records that a crash may tear."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import msgspec

from p2pctl.cmd_audit import _read as read_audit_lines
from p2pctl.durations import parse_duration_s
from p2pctl.fleet_dir import FleetDir, FleetFile
from p2pctl.lab.layout import read_hosts
from p2pctl.rollout_request import parse_max_unavailable
from p2pctl.targets import parse_targets
from p2pdaemon.config import load_config as load_daemon_config
from p2pdaemon.failure_note import FailureNote, _Note
from p2pdaemon.journal import Journal
from p2pdaemon.kept_answer import read_answer
from p2pdaemon.services.records import ExitRecord, RunRecord
from p2pdaemon.services.rundir import read_record
from p2pdaemon.services.users import ServiceUsers
from p2pdeploy.activation.record import ServiceRecord, Started
from p2pdeploy.errors import ConfigError, IntegrityError, P2PDeployError, PayloadError
from p2pdeploy.ids import HostName, ServiceName
from p2pdeploy.manifest import digest_of
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.gateways import Gateways
from p2pdeploy.payload.service_toml import parse_service_toml
from p2pdeploy.planning.conducted import Conducted
from p2pdeploy.topology import Host
from p2pdeploy.trust.host_identity import load_validity
from p2pdeploy.trust.private_files import write_private
from p2ptracker.config import load_config as load_tracker_config
from p2ptracker.config import load_inventory
from p2ptracker.rollouts.store import DOCUMENT_BYTES_MAX
from p2ptracker.rollouts.view import RolloutDocument
from tests.fuzz.decoder import Decoder, of_json, of_message

_DAEMON_TOML = b"""\
name = "h01"
address = "127.9.9.10"
environment = "lab"
machine_function = "web"
cell = "lab.web.c0"
fault_domain = "fd0"
gossip_port = 7946
state_dir = "state"
api = "https://127.9.9.1:7400"
service_users = ["www-data"]
"""
_TRACKER_TOML = b"""\
address = "127.0.0.1"
api_port = 7400
announce_interval_s = 60
settle_s = 5.0
lab = true
"""
_SERVICE_TOML = b"""\
[service]
name = "hello"

[run]
command = ["python3", "server.py", "$PORT"]
stop_timeout_s = 5
env = { A = "b" }

[health]
http = "http://$HOST:$PORT/healthz"
interval_s = 1.5
"""
_TARGETS = b"h01\n# the second rack\nh02  # new\n\nweb-3\n"
_ONE_HOST = b"""[{"name":"h01","address":"127.0.0.9","environment":"lab","machine_function":"web",\
"cell":"lab.web.c0","fault_domain":"fd0","gossip_port":1,"swarm_port":2,"host_port":3}]"""


@cache
def _folder() -> Path:
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a disk would take most of the time
    path = Path(tempfile.mkdtemp(prefix="p2pdeploy-fuzz-", dir=fast))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """*read* of a file of this name with the bytes in it."""

    def decode(data: bytes) -> object:
        path = _folder() / name
        path.write_bytes(data)
        return read(path)

    return decode


def kept(name: str, kind: type) -> Callable[[bytes], object]:
    """What the control plane said, as a host keeps it."""
    return from_file(name, lambda path: read_answer(path, kind))


def read_journal(body: bytes) -> None:
    """A record whose digest is right and whose content is not what we wrote."""
    journal = Journal(_folder() / "journal")
    record = _folder() / "journal" / "services" / "web"
    record.write_bytes(f"p2pdaemon-record-1 {digest_of(body)}\n".encode() + body)
    journal.services()


def read_torn_journal(data: bytes) -> None:
    """A record that is not even that."""
    journal = Journal(_folder() / "torn")
    (_folder() / "torn" / "services" / "web").write_bytes(data)
    journal.services()


def read_users(path: Path) -> None:
    """The table of who runs as whom."""
    with contextlib.suppress(PayloadError):
        ServiceUsers(path, HostName("h1"), is_root=True).user_of(ServiceName("web"))


def read_note(path: Path) -> None:
    """Damage to it is a failure like any other, so it refuses nothing."""
    started = Started(plan_seq=1, build=None, previous=None, bake_s=0.0, activation_max_s=1.0)
    FailureNote(path.parent).read(started)


def read_validity(data: bytes) -> None:
    """Not readable means: renew now."""
    write_private(_folder() / "validity", data)
    load_validity(_folder())


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _config(name: str, file: str, sample: bytes, read: Callable[[Path], object]) -> Decoder:
    form = "json" if file.endswith(".json") else "toml"
    return Decoder(
        name=name,
        read=from_file(file, read),
        form=form,
        honest=(sample,),
        refuses=(ConfigError,),
        memory_bytes_max=48 * 1024 * 1024,  # tomllib keeps a dictionary for each name
    )


_RECORD = msgspec.json.encode(ServiceRecord(service=ServiceName("web"), accepted_seq=4))
_FRAMED = f"p2pdaemon-record-1 {digest_of(_RECORD)}\n".encode() + _RECORD

FILE_DECODERS = (
    _config("daemon.toml", "daemon.toml", _DAEMON_TOML, load_daemon_config),
    _config("tracker.toml", "tracker.toml", _TRACKER_TOML, lambda p: load_tracker_config(p.parent)),
    _config("inventory.json", "inventory.json", _ONE_HOST, lambda p: load_inventory(p.parent)),
    _config("lab inventory", "inventory.json", _ONE_HOST, lambda p: read_hosts(p.parent)),
    Decoder(
        name="service.toml",
        read=parse_service_toml,
        form="toml",
        honest=(_SERVICE_TOML,),
        refuses=(PayloadError,),
        memory_bytes_max=48 * 1024 * 1024,
    ),
    Decoder(
        name="journal",
        read=read_journal,
        form="json",
        honest=(_RECORD,),
        refuses=(ConfigError,),
    ),
    Decoder(
        name="torn journal",
        read=read_torn_journal,
        form="text",
        honest=(_FRAMED,),
        refuses=(ConfigError,),
    ),
    of_json(
        "run.json",
        RunRecord,
        from_file("run.json", lambda path: read_record(path, RunRecord)),
    ),
    of_json(
        "exit.json",
        ExitRecord,
        from_file("exit.json", lambda path: read_record(path, ExitRecord)),
    ),
    of_json("failed-change.json", _Note, from_file("failed-change.json", read_note), refuses=()),
    of_json("users", dict[ServiceName, int], from_file("users", read_users)),
    of_json("cached inventory", list[Host], kept("inventory", list[Host])),
    of_json("cached gateways", Gateways, kept("gateways", Gateways)),
    of_json("fleet.json", FleetFile, from_file("fleet.json", lambda p: FleetDir(p.parent).read())),
    of_json(
        "audit export",
        AuditEntry,
        from_file("audit", lambda path: list(read_audit_lines(path))),
        refuses=(IntegrityError,),
    ),
    Decoder(
        name="validity",
        read=read_validity,
        honest=(msgspec.msgpack.encode({"issued_at": 1.0, "expires_at": 2.0}),),
        refuses=(),
    ),
    Decoder(
        name="targets",
        read=lambda data: parse_targets(data, "targets"),
        form="text",
        honest=(_TARGETS,),
        refuses=(P2PDeployError,),
    ),
    Decoder(
        name="duration",
        read=lambda data: parse_duration_s(_text(data)),
        form="text",
        honest=(b"2.5m", b"500ms", b"1h"),
        refuses=(ValueError,),  # what click turns into a usage error
    ),
    Decoder(
        name="max-unavailable",
        read=lambda data: parse_max_unavailable(_text(data)),
        form="text",
        honest=(b"25%", b"3"),
        refuses=(click.BadParameter,),
    ),
    of_message(Conducted, bytes_max=DOCUMENT_BYTES_MAX),
    of_message(RolloutDocument, bytes_max=DOCUMENT_BYTES_MAX),
)
