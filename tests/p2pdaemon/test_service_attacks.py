"""What a service may do to its host: it is a user of its own, and sees what it must."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import trio

from p2pdaemon.config import DaemonConfig
from p2pdaemon.service_process import Run, ServiceProcess
from p2pdaemon.services.check import check_once
from p2pdaemon.store import ReleaseStore
from p2pdeploy.messages.orders import Build
from p2pdeploy.process_identity import is_alive
from tests.p2pdaemon.conftest import HELLO, PYTHON, a_process, a_tree, stage_release
from tests.privileges import needs_root

pytestmark = pytest.mark.processes

Release = Callable[..., Build]

BURGLAR = """\
import json, os, sys
tried, report = json.loads(os.environ["TRY"]), {}
for what, path in tried.items():
    try:
        if what.startswith("write"):
            open(path, "ab").close()
        elif what.startswith("make"):
            open(path, "xb").close()
        elif what.startswith("remove"):
            os.unlink(path)
        elif what.startswith("chmod"):
            os.chmod(path, 0o777)
        elif what.startswith("list"):
            os.listdir(path)
        else:
            open(path, "rb").read()
        report[what] = "done"
    except OSError as error:
        report[what] = "refused"
try:
    os.setuid(0)
    report["become root"] = "done"
except OSError:
    report["become root"] = "refused"
report["uid"], report["groups"] = os.getresuid(), os.getgroups()
with open(os.path.join(os.environ["STATE_DIR"], "report"), "w") as file:
    json.dump(report, file)
print("reported", flush=True)
import time
time.sleep(600)
"""

TOML = """\
[service]
name = "hello"
[run]
command = ["{python}", "-I", "-S", "burglar.py"]
env = {{ STATE_DIR = "$STATE_DIR", TRY = '{tried}' }}
stop_timeout_s = 0.5
[health]
exec = ["{python}", "-I", "-S", "-c", "{check}"]
"""

CHECK = "import os; open(os.environ['STATE_DIR'] + '/report').close(); print(os.getresuid())"


async def burgle(
    process: ServiceProcess, store: ReleaseStore, tmp_path: Path, tried: dict[str, str]
) -> tuple[dict[str, object], Run]:
    """Run a service that tries all of *tried*; what it says of each."""
    tree = a_tree(tmp_path / "trees/burglar", "good")
    (tree / "burglar.py").write_text(BURGLAR)
    text = TOML.format(python=PYTHON, tried=json.dumps(tried), check=CHECK)
    (tree / "service.toml").write_text(text)
    build = stage_release(store, tree, "1.0.0")
    store.switch(HELLO, build.digest)
    run = await process.start(build)
    report = store.service_dir(HELLO) / "state/report"
    with trio.fail_after(15):
        while not report.exists() or not report.read_text().endswith("}"):  # noqa: ASYNC110
            await trio.sleep(0.01)
    return json.loads(report.read_text()), run


@pytest.fixture(params=["closed", "open"])
def reach(
    request: pytest.FixtureRequest, config: DaemonConfig, store: ReleaseStore
) -> Iterator[str]:
    """Whether the folders above the daemon's state can be passed by other users."""
    folders = [config.state_dir, *config.state_dir.parents]
    own = [f for f in folders if f.stat().st_uid == os.geteuid() and f != Path("/")]
    before = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in own}
    if request.param == "open":
        for folder, mode in before.items():
            folder.chmod(mode | 0o011)
    else:
        config.state_dir.chmod(0o700)

    yield request.param
    for folder, mode in before.items():
        folder.chmod(mode)


@needs_root
async def test_a_service_cannot_read_the_daemons_keys_nor_its_journal(
    process: ServiceProcess,
    config: DaemonConfig,
    store: ReleaseStore,
    tmp_path: Path,
    reach: str,
) -> None:
    """Or it could forge what this host attests.  Wherever the fleet's folder lies."""
    state = config.state_dir
    identity = state / "identity"
    identity.mkdir(mode=0o700)
    secrets = {"key": identity / "attestation.key", "host": state / "journal/host"}
    secrets["record"] = state / "journal/services/other"
    for path in secrets.values():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text("secret")
        path.chmod(0o600)
    for folder in {path.parent for path in secrets.values()} | {state / "journal"}:
        folder.chmod(0o700)
    folder = store.service_dir(HELLO)
    tried = {f"read {name}": str(path) for name, path in secrets.items()}
    tried |= {"read own order": str(folder / "run/1/spec.json"), "list journal": str(identity)}
    tried |= {"write journal": str(secrets["record"]), "make journal": str(state / "journal/x")}
    tried |= {"remove journal": str(secrets["record"]), "read lock": str(folder / "lock")}
    tried |= {"read users": str(state / "journal/users")}
    if reach == "open":  # else there is another folder in its place, with this release alone
        tried["list store"] = str(state / "store")
    report, run = await burgle(process, store, tmp_path, tried)
    user = run.launch.run.user
    assert user is not None
    assert report.pop("uid") == [user.uid] * 3
    assert report.pop("groups") == []
    assert report == dict.fromkeys([*tried, "become root"], "refused")
    assert all(path.read_text() == "secret" for path in secrets.values())


@needs_root
async def test_a_service_cannot_write_its_own_release(
    process: ServiceProcess, store: ReleaseStore, tmp_path: Path, reach: str
) -> None:
    tried = {
        "write own program": "burglar.py",
        "make file": "planted.py",
        "remove file": "behaviour",
        "chmod file": "burglar.py",
        "chmod tree": ".",
        "read own program": "burglar.py",
        "make beside": "../planted",
    }
    tried["make state"] = str(store.service_dir(HELLO) / "state/mine")
    tried["remove current"] = str(store.service_dir(HELLO) / "current")
    report, run = await burgle(process, store, tmp_path, tried)
    done = {what for what, how in report.items() if how == "done"}
    assert done == {"read own program", "make state"}
    store.verify(run.digest)


@needs_root
async def test_a_health_check_is_the_services_user_too_and_sees_what_it_sees(
    process: ServiceProcess, store: ReleaseStore, tmp_path: Path, reach: str
) -> None:
    report, run = await burgle(process, store, tmp_path, {})
    result = await check_once(run.launch.check, timeout_s=10)
    assert result.ok, result.detail
    assert result.detail.endswith(f", ({', '.join(map(str, report['uid']))})")


@needs_root
async def test_what_a_service_leaves_behind_dies_with_its_supervisor(
    process: ServiceProcess, store: ReleaseStore, tmp_path: Path
) -> None:
    """The kernel forgets the tie to the supervisor when a process changes its user."""
    _, run = await burgle(process, store, tmp_path, {})
    record = run.running.record
    os.kill(record.supervisor_pid, 9)  # and nobody looks after what is left
    with trio.fail_after(10):
        while is_alive(record.child):  # noqa: ASYNC110
            await trio.sleep(0.01)


@needs_root
async def test_state_and_log_belong_to_the_services_user_and_the_log_is_read(
    process: ServiceProcess, store: ReleaseStore, tmp_path: Path
) -> None:
    _, run = await burgle(process, store, tmp_path, {})
    user = run.launch.run.user
    assert user is not None
    assert (store.service_dir(HELLO) / "state").stat().st_uid == user.uid
    assert store.log_path(HELLO).stat().st_uid == user.uid
    with trio.fail_after(5):
        while store.log_path(HELLO).read_text() != "reported\n":  # noqa: ASYNC110
            await trio.sleep(0.01)


@needs_root
async def test_a_library_that_a_payload_preloads_is_not_loaded_as_root(
    process: ServiceProcess, config: DaemonConfig, store: ReleaseStore, tmp_path: Path
) -> None:
    """The environment is the payload's: no interpreter of ours may run with it."""
    tree = a_tree(tmp_path / "trees/preload", "good")
    text = (tree / "service.toml").read_text().replace('http = "http://$HOST:$PORT/healthz"', "")
    noisy = 'env = { LD_DEBUG = "statistics", LD_DEBUG_OUTPUT = "$STATE_DIR/ld",'
    text = text.replace("env = {", noisy) + 'exec = ["/bin/true"]\n'
    (tree / "service.toml").write_text(text)
    build = stage_release(store, tree, "1.0.0")
    store.switch(HELLO, build.digest)
    run = await process.start(build)
    user = run.launch.run.user
    assert user is not None
    result = await check_once(run.launch.check, timeout_s=10)
    assert result.ok, result.detail
    # The dynamic loader of every process that has this environment writes a file.
    written = list((store.service_dir(HELLO) / "state").glob("ld.*"))
    assert len(written) == 2, "the service and its check"
    assert {path.stat().st_uid for path in written} == {user.uid}


async def test_without_root_a_service_runs_as_the_daemons_user(
    config: DaemonConfig, store: ReleaseStore, release: Release
) -> None:
    process = a_process(config, store, is_root=False)
    build = release("1.0.0")
    store.switch(HELLO, build.digest)
    run = await process.start(build)
    try:
        assert run.launch.run.user is None
        assert psutil.Process(run.running.record.child.pid).uids().effective == os.geteuid()
    finally:
        await process.stop()
