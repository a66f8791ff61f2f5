"""Joining by a certificate of the company's own CA: what opens it, once, and who hears of it."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from p2pdaemon.join import join
from p2pdaemon.join_by_certificate import join_by_certificate, load_company_certificate, read_pin
from p2pdeploy.errors import P2PDeployError, RefusedError, TrustError
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus
from p2pdeploy.trust.host_identity import load_identity
from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane
from tests.daemon_toml import write_daemon_toml
from tests.p2ptracker.enrolment.by_certificate import (
    H1,
    H1_DNS,
    H2,
    alarms_of,
    enrol,
    let_join,
    refused,
)
from tests.p2ptracker.enrolment.command_line import p2pctl
from tests.p2ptracker.enrolment.company_ca import DOMAIN, new_rsa_key, write_pem
from tests.p2ptracker.enrolment.joined import config_at


async def test_a_host_joins_with_its_companys_certificate(
    company, ca, config_of, tmp_path: Path
) -> None:
    """From files, through the daemon's own code, with an intermediate CA in between."""
    files = write_pem(tmp_path / "pki", ca.below().issue(H1_DNS, "h01"))
    config = config_at(company, config_of, H1)
    pin = read_pin(str(company.plane.trust.paths.fleet_ca))
    said = await join_by_certificate(config, load_company_certificate(*files), pin)
    assert "h01 is a host of lab now, enrolment 2" in said
    credential = load_identity(config.identity_dir, H1).credential
    assert (credential.host, credential.fault_domain) == (H1, config.fault_domain)
    again = await join_by_certificate(config, load_company_certificate(*files), pin)
    assert "already" in again, "a host that joined is left alone"
    assert await alarms_of(company) == []


@pytest.mark.processes
async def test_operator_and_host_do_it_by_their_commands(
    company, ca, config_of, tmp_path: Path, capsys
) -> None:
    host = company.plane.inventory.get(H2)
    inventory = tmp_path / "rack.json"
    inventory.write_bytes(msgspec.json.encode([host]))
    code, text = await p2pctl(
        company, capsys, "enroll", "import", str(inventory), "--by-certificate"
    )
    assert (code, text) == (0, ""), "there are no tokens to show"

    pem, key = write_pem(tmp_path / "pki", ca.issue(f"h02.{DOMAIN}"))
    toml = write_daemon_toml(tmp_path, config_at(company, config_of, H2))
    command = [sys.executable, "-m", "p2pdaemon", "join", "--certificate", str(pem)]
    command += ["--key", str(key), "--config", str(toml)]
    authority = ["--authority", str(company.plane.trust.paths.fleet_ca)]
    half = await trio.run_process(command, capture_stderr=True, check=False)
    assert half.returncode == 2
    assert b"--authority" in half.stderr
    done = await trio.run_process([*command, *authority], capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"h02 is a host of lab now, enrolment 2" in done.stderr
    again = [*command, *authority, "--again"]
    done = await trio.run_process(again, capture_stderr=True, check=False)
    assert done.returncode == 1
    assert b"joined by its certificate already" in done.stderr


async def test_a_join_that_was_open_before_the_revocation_lets_nobody_in(company, ca) -> None:
    answer = await company.http.post("/v1/enrolment/revocations", json={"host": H1})
    assert answer.status_code == 200, answer.text
    assert await refused(company, ca.issue(H1_DNS)) == "certificate-not-opened"


async def test_the_audit_log_says_who_joined(company, ca) -> None:
    await enrol(company, ca.issue(H1_DNS))
    answer = await company.http.get("/v1/audit")
    entries = msgspec.json.decode(answer.content, type=list[AuditEntry])
    joined = [entry for entry in entries if entry.path == "/v1/enrolment/company"]
    assert [(entry.step, entry.who) for entry in joined] == [("done", "spiffe://lab/lab/web/h01")]


async def test_a_host_with_an_rsa_key_joins(company, ca) -> None:
    assert (await enrol(company, ca.issue(H1_DNS, key=new_rsa_key()))).credential


async def test_what_is_open_is_shown(company, ca) -> None:
    async def state_of(name: str) -> str:
        answer = await company.http.get("/v1/enrolment")
        found = msgspec.json.decode(answer.content, type=EnrolmentStatus)
        return next(host.state for host in found.hosts if host.host == name)

    assert (await state_of(H1), await state_of(H2)) == ("certificate", "none")
    await enrol(company, ca.issue(H1_DNS))
    assert await state_of(H1) == "enrolled"


async def test_a_host_that_nobody_named_does_not_join(company, ca) -> None:
    """It is in the inventory, and the company's certificate is good: an operator's word lacks."""
    assert await refused(company, ca.issue(f"h02.{DOMAIN}"), H2) == "certificate-not-opened"
    assert await refused(company, ca.issue(f"h99.{DOMAIN}"), "h99") == "certificate-not-opened"


async def test_a_host_whose_time_ran_out_does_not_join(company, ca) -> None:
    await let_join(company, H2, ttl_s=0.001)
    assert await refused(company, ca.issue(f"h02.{DOMAIN}"), H2) == "certificate-expired"


async def test_a_token_voids_what_was_open_for_a_certificate_and_the_other_way_round(
    company, ca, config_of, token_for
) -> None:
    certificate = ca.issue(H1_DNS)
    token = await token_for(company, H1)
    assert await refused(company, certificate) == "certificate-not-opened"
    (made,) = await let_join(company, H1)
    assert made["token"] == "", "nobody has a token that nobody needs"
    with pytest.raises(TrustError) as void:
        await join(config_of(company.plane.inventory.get(H1)), token)
    assert void.value.code == "token-unknown"
    assert (await enrol(company, certificate)).credential


async def test_the_companys_ca_is_trusted_in_no_connection(company, ca, tmp_path: Path) -> None:
    pem, key = write_pem(tmp_path, ca.issue(H1_DNS))
    files = IdentityFiles(certificate=pem, key=key, authority=company.plane.trust.paths.fleet_ca)
    context = client_context(files, is_control_plane, who="the control plane")
    assert not await is_answered(company.ports.api, context)
    assert not await is_answered(company.ports.upload, context)


async def is_answered(port: int, context: ssl.SSLContext) -> bool:
    """Whether one byte comes back."""
    try:
        async with await open_stream("127.0.0.1", port, context) as stream:
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            with trio.fail_after(10):
                return bool(await stream.receive_some())
    except (P2PDeployError, trio.BrokenResourceError):
        return False


async def test_a_fleet_without_a_companys_ca_lets_nobody_in_by_one(tracker, ca) -> None:
    with pytest.raises(RefusedError) as none:
        await enrol(tracker, ca.issue(H1_DNS))
    assert none.value.code == "no-company"
    answer = await tracker.http.post(
        "/v1/enrolment/tokens", json={"hosts": [H1], "by_certificate": True}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no-company")


async def test_a_control_plane_of_another_authority_is_told_nothing(company, ca, config_of) -> None:
    config = config_at(company, config_of, H1)
    with pytest.raises(TrustError) as wrong:
        await join_by_certificate(config, ca.issue(H1_DNS), "ab" * 32)
    assert wrong.value.code == "wrong-authority"
    assert not config.identity_dir.exists()
