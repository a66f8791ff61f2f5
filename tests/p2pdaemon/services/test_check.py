"""Health checks against real sockets and real programs."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from p2pdaemon.services.check import ExecCheck, HttpCheck, TcpCheck, check_once
from p2pdeploy.process_identity import identify

OWN = "127.0.0.1"
PATIENT_S = 10.0


@asynccontextmanager
async def a_server(answer=b"", *, hang=False, peers=None, requests=None):
    """Serve *answer* to every connection; give the port."""

    async def serve(stream):
        async with stream:
            if peers is not None:
                peers.append(stream.socket.getpeername()[0])
            data = await stream.receive_some(10_000)
            if requests is not None:
                requests.append(data)
            if hang:
                await trio.sleep_forever()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=OWN))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def get(answer, **options):
    async with a_server(answer, **options) as port:
        url = f"http://{OWN}:{port}/healthz?deep=1"
        result = await check_once(HttpCheck(url), timeout_s=PATIENT_S, source_address=OWN)
        return result.ok, result.detail.replace(str(port), "PORT")


@pytest.mark.processes
async def test_a_program_gets_the_umask_of_services_and_not_ours(tmp_path):
    check = ExecCheck(("/bin/sh", "-c", "umask"), {}, str(tmp_path))
    before = os.umask(0o077)
    try:
        result = await check_once(check, timeout_s=PATIENT_S, source_address=OWN)
    finally:
        os.umask(before)
    assert result.detail.endswith(", 0022")


@pytest.mark.parametrize(
    ("status", "ok"),
    [
        ("200 OK", True),
        ("204 No Content", True),
        ("299 X", True),
        ("301 Moved", False),
        ("404 Not Found", False),
        ("500 Internal Server Error", False),
    ],
)
async def test_only_2xx_is_healthy(status, ok):
    answer = f"HTTP/1.1 {status}\r\nLocation: /\r\n\r\n".encode()
    assert await get(answer) == (ok, f"GET http://127.0.0.1:PORT/healthz?deep=1: {status[:3]}")


async def test_request_names_path_query_and_host():
    requests = []
    await get(b"HTTP/1.0 200\r\n\r\n", requests=requests)
    assert requests[0].startswith(b"GET /healthz?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_informational_answers_are_passed_over():
    assert (await get(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))[0]


@pytest.mark.parametrize(
    "answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000]
)
async def test_answer_that_is_no_http_is_unhealthy(answer):
    ok, detail = await get(answer)
    assert not ok
    assert detail.startswith("GET http://127.0.0.1:PORT/")


async def test_check_comes_from_the_hosts_own_address():
    peers = []
    async with a_server(b"HTTP/1.1 200 OK\r\n\r\n", peers=peers) as port:
        for source in ("127.0.0.2", "127.0.0.3"):
            check = HttpCheck(f"http://{OWN}:{port}/")
            assert (await check_once(check, timeout_s=PATIENT_S, source_address=source)).ok
            check = TcpCheck(OWN, port)
            assert (await check_once(check, timeout_s=PATIENT_S, source_address=source)).ok
        await trio.testing.wait_all_tasks_blocked()
    assert peers == ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2


async def test_server_that_never_answers_is_unhealthy_in_time():
    async with a_server(hang=True) as port:
        check = HttpCheck(f"http://{OWN}:{port}/")
        result = await check_once(check, timeout_s=0.05, source_address=OWN)
    assert not result.ok
    assert result.detail.endswith("no answer within 0.05 s")


async def test_refused_connection_is_told():
    async with a_server() as port:
        pass
    for check in (HttpCheck(f"http://{OWN}:{port}/"), TcpCheck(OWN, port)):
        result = await check_once(check, timeout_s=PATIENT_S, source_address=OWN)
        assert not result.ok
        assert result.detail.endswith(": Connection refused")


async def test_tcp_check_needs_only_a_connection():
    async with a_server(hang=True) as port:
        result = await check_once(TcpCheck(OWN, port), timeout_s=PATIENT_S, source_address=OWN)
    assert (result.ok, result.detail) == (True, f"connect to 127.0.0.1:{port}: accepted")


async def test_url_without_sense_is_unhealthy_not_an_exception():
    for url in ("ftp://x/", "http://", "http://127.0.0.1:abc/", "http://127.0.0.1:99999/"):
        assert not (await check_once(HttpCheck(url), timeout_s=PATIENT_S)).ok


def a_script(tmp_path, script):
    env = {"PATH": os.defpath, "WORD": "hello"}
    return ExecCheck(("/bin/sh", "-c", script), env, str(tmp_path))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("script", "ok", "detail"),
    [
        ("true", True, "/bin/sh: exit code 0"),
        ("echo one; echo two >&2; exit 4", False, "/bin/sh: exit code 4, two"),
        ("echo $WORD in $PWD; echo", True, "/bin/sh: exit code 0, hello in TREE"),
        ("kill -9 $$", False, "/bin/sh: exit code -9"),
        (r"printf 'a\033[2Jb'", True, "/bin/sh: exit code 0, a?[2Jb"),
        ("echo ${HOME-none}", True, "/bin/sh: exit code 0, none"),
    ],
)
async def test_exit_code_of_the_program_decides(tmp_path, script, ok, detail):
    result = await check_once(a_script(tmp_path, script), timeout_s=PATIENT_S)
    assert (result.ok, result.detail.replace(str(tmp_path), "TREE")) == (ok, detail)


@pytest.mark.processes
async def test_program_that_hangs_is_killed_with_its_children(tmp_path):
    script = "echo $$ > pids; (echo $(exec sh -c 'echo $PPID') >> pids; sleep 600) & sleep 600"
    result = await check_once(a_script(tmp_path, script), timeout_s=0.3)
    assert result.detail == "/bin/sh: no answer within 0.3 s"
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert pids
    with trio.fail_after(PATIENT_S):
        while any(identify(pid) for pid in pids):  # noqa: ASYNC110 -- killed, not yet gone
            await trio.sleep(0.005)


@pytest.mark.processes
async def test_what_a_program_leaves_running_does_not_hold_up_the_check(tmp_path):
    with trio.fail_after(PATIENT_S):
        result = await check_once(a_script(tmp_path, "sleep 600 & exit 0"), timeout_s=30.0)
    assert result.ok


@pytest.mark.processes
async def test_flood_of_output_is_read_and_forgotten(tmp_path):
    script = "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end"
    result = await check_once(a_script(tmp_path, script), timeout_s=PATIENT_S)
    assert result.detail == "/bin/sh: exit code 0, end"


@pytest.mark.processes
async def test_program_that_does_not_exist_is_unhealthy(tmp_path):
    result = await check_once(ExecCheck(("./no",), {}, str(tmp_path)), timeout_s=PATIENT_S)
    assert (result.ok, result.detail) == (False, "./no: No such file or directory")
