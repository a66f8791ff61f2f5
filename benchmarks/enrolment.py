"""How many hosts a second a control plane enrols: each with its own token and connection.

The control plane is a process of its own.  Keys and signing requests are made before; every host
opens a new TLS connection, as ``p2pdaemon join`` does.  The client runs on the same machine and
needs about as much of it as the control plane.
"""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import msgspec
import trio
from local_fleet import scratch_folder
from result import ResultWriter

from p2pdeploy.codec import decode, encode
from p2pdeploy.ids import CellId, FaultDomain, HostName
from p2pdeploy.messages.enrolment import EnrolRequest, IssuedIdentity
from p2pdeploy.messages.enrolment_desk import TokenRequest, TokenView
from p2pdeploy.topology import Host
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys
from p2pdeploy.trust.join_token import read_join_token
from p2pdeploy.trust.tls import (
    IdentityFiles,
    client_context,
    demand_identity,
    is_control_plane,
)

LIMIT_MS = 10.0  # 100 a second
AT_ONCE = 16
BIN = Path(sys.executable).parent
ANSWER_BYTES_MAX = 256 * 1024


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--hosts", type=int, default=1_000)
    count = arguments.parse_args().hosts
    results = ResultWriter()
    with scratch_folder() as folder:
        hosts = [a_host(number) for number in range(count)]
        fleet = make_fleet(folder / "fleet", hosts)
        log = folder / "log"
        with log.open("wb") as file:
            running = subprocess.Popen([BIN / "p2ptracker", "run", "--dir", fleet], stderr=file)
        try:
            api = f"https://127.0.0.1:{port_in(log)}"
            took_s, cpu_s = trio.run(enrol_all, fleet, api, hosts, running.pid)
        finally:
            running.terminate()
            running.wait(timeout=30)
    results.add(
        "enrolment-1000" if count == 1_000 else f"enrolment-{count}",
        took_s / count * 1000,
        LIMIT_MS,
        "ms/host",
        hosts_per_s=round(count / took_s, 1),
        control_plane_cpu_ms=round(cpu_s / count * 1000, 2),
        at_once=AT_ONCE,
    )
    return results.exit_code


def cpu_of_s(pid: int) -> float:
    """What a process has used so far, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def a_host(number: int) -> Host:
    return Host(
        name=HostName(f"h{number:04}"),
        address=f"127.60.{number // 250}.{1 + number % 250}",
        environment="lab",
        machine_function="web",
        cell=CellId("lab.web.c0"),
        fault_domain=FaultDomain(f"fd{number % 5}"),
        gossip_port=7946,
        swarm_port=6881,
        host_port=7947,
    )


def make_fleet(folder: Path, hosts: list[Host]) -> Path:
    subprocess.run([BIN / "p2ptracker", "init", folder], check=True, stdout=subprocess.DEVNULL)
    text = 'address = "127.0.0.1"\napi_port = 0\nannounce_port = 0\nupload_port = 0\n'
    (folder / "tracker.toml").write_text(text)
    (folder / "inventory.json").write_bytes(msgspec.json.encode(hosts))
    return folder


def port_in(log: Path) -> int:
    """The port of the API, which the control plane says in its log."""
    for _ in range(300):
        for line in log.read_text().splitlines():
            if line.startswith("{") and '"control-plane-up"' in line:
                return int(msgspec.json.decode(line)["api"])
        time.sleep(0.1)  # noqa: TID251 a script that waits for a process
    raise SystemExit(f"the control plane does not start: {log.read_text()}")


async def enrol_all(fleet: Path, api: str, hosts: list[Host], pid: int) -> tuple[float, float]:
    """Enrol every host.

    Returns:
        The seconds from the first connection to the last answer, and the CPU seconds of the
        control plane meanwhile.
    """
    tokens = await ask_tokens(fleet, api, hosts)
    waiting = [a_request(view) for view in tokens]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=fleet / "ca" / "fleet.pem")
    demand_identity(context, is_control_plane, "the control plane")
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx2.AsyncClient(
        base_url=api, verify=context, limits=limits, trust_env=False, timeout=60
    ) as http:
        began, cpu_began_s = time.perf_counter(), cpu_of_s(pid)
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(enrol_some, http, waiting)
        return time.perf_counter() - began, cpu_of_s(pid) - cpu_began_s


async def enrol_some(http: httpx2.AsyncClient, waiting: list[bytes]) -> None:
    while waiting:
        answer = await http.post("/v1/enrolment", content=waiting.pop())
        if answer.status_code != 200:
            raise SystemExit(f"refused: {answer.text}")
        decode(answer.content, IssuedIdentity, bytes_max=ANSWER_BYTES_MAX)


async def ask_tokens(fleet: Path, api: str, hosts: list[Host]) -> list[TokenView]:
    pem = fleet / "operator" / "operator.pem"
    files = IdentityFiles(certificate=pem, key=pem, authority=fleet / "ca" / "fleet.pem")
    context = client_context(files, is_control_plane, who="the control plane")
    request = TokenRequest(hosts=tuple(host.name for host in hosts))
    async with httpx2.AsyncClient(verify=context, trust_env=False, timeout=60) as http:
        answer = await http.post(f"{api}/v1/enrolment/tokens", content=msgspec.json.encode(request))
    return msgspec.json.decode(answer.content, type=list[TokenView])


def a_request(view: TokenView) -> bytes:
    return encode(
        EnrolRequest(
            host=view.host,
            secret=read_join_token(view.token).secret,
            public_key=new_attestation_key(view.host).public_key,
            requests=new_leaf_keys().requests,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
