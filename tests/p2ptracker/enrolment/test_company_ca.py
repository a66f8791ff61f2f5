"""Joining by a certificate of the company's own CA, and every way to cheat at it."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from p2pdaemon.enrolment_client import open_enrolment
from p2pdaemon.join import join
from p2pdaemon.join_by_certificate import (
    CompanyCertificate,
    join_by_certificate,
    load_company_certificate,
    read_pin,
)
from p2pdeploy.codec import encode
from p2pdeploy.errors import ConfigError, P2PDeployError, RefusedError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.enrolment import RENEWAL_AGE_S_MAX, IssuedIdentity
from p2pdeploy.messages.enrolment_company import CompanyEnrolRequest, CompanyStatement
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.host_identity import load_identity
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys
from p2pdeploy.trust.streams import open_stream
from p2pdeploy.trust.tls import IdentityFiles, client_context, is_control_plane
from p2ptracker.enrolment.company import load_company_authority
from p2ptracker.storage.enrolment import newest_alarms
from tests.daemon_toml import write_daemon_toml
from tests.p2ptracker.enrolment.company_ca import (
    ANY_USE,
    CLIENT,
    DAY,
    DOMAIN,
    SERVER,
    SIGNS_NO_CERTIFICATES,
    CompanyCa,
    certificate_with,
    new_company,
    new_key,
    new_rsa_key,
    write_pem,
)
from tests.p2ptracker.enrolment.joined import config_at
from tests.p2ptracker.enrolment.test_growing import p2pctl

H1, H2 = HostName("h01"), HostName("h02")
H1_DNS = f"{H1}.{DOMAIN}"


@pytest.fixture
def ca() -> CompanyCa:
    return new_company()


@pytest.fixture
async def company(fleet_dir: Path, started, ca: CompanyCa) -> AsyncGenerator:
    """A control plane that trusts *ca*, and an operator who lets h01 join by it."""
    (fleet_dir / "ca" / "company.pem").write_bytes(ca.pem)
    with (fleet_dir / "tracker.toml").open("a") as file:
        file.write(f'company_ca = "ca/company.pem"\ncompany_domain = "{DOMAIN}"\n')
    async with started(fleet_dir) as tracker:
        await let_join(tracker, H1)
        yield tracker


async def let_join(tracker, *hosts: str, ttl_s: float = 60.0):
    answer = await tracker.http.post(
        "/v1/enrolment/tokens",
        json={"hosts": list(hosts), "ttl_s": ttl_s, "by_certificate": True},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def a_statement(tracker, host: str = H1, *, off_s: float = 0.0) -> CompanyStatement:
    return CompanyStatement(
        authority=bytes.fromhex(fingerprint(tracker.plane.trust.fleet_ca.pem)),
        host=HostName(host),
        public_key=new_attestation_key(HostName(host)).public_key,
        requests=new_leaf_keys().requests,
        asked_at=time.time() + off_s,
    )


async def send(tracker, request: CompanyEnrolRequest) -> IssuedIdentity:
    """As somebody without any certificate of the fleet."""
    api = f"https://127.0.0.1:{tracker.ports.api}"
    pem = tracker.plane.trust.fleet_ca.pem
    async with open_enrolment(api, pem, address="127.0.0.1") as client:
        return await client.enrol_by_company(request)


async def enrol(tracker, certificate: CompanyCertificate, host: str = H1) -> IssuedIdentity:
    return await send(tracker, certificate.sign(encode(a_statement(tracker, host))))


async def refusal_of(tracker, request: CompanyEnrolRequest) -> str:
    with pytest.raises(TrustError) as refused:
        await send(tracker, request)
    return refused.value.code


async def refused(tracker, certificate: CompanyCertificate, host: str = H1) -> str:
    return await refusal_of(tracker, certificate.sign(encode(a_statement(tracker, host))))


async def alarms_of(tracker) -> list[tuple[str, str]]:
    return [(a.host, a.code) for a in await tracker.plane.database.read(newest_alarms)]


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


def test_a_file_of_too_many_roots_is_refused_and_not_cut(ca, tmp_path: Path) -> None:
    path = tmp_path / "company.pem"
    path.write_bytes(ca.pem * (1 + 256 * 1024 // len(ca.pem)))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="larger than"):
        load_company_authority(path, DOMAIN)


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


async def test_the_certificate_of_another_ca_is_refused(company) -> None:
    """One of the same name, to make it look right."""
    assert await refused(company, new_company().issue(H1_DNS)) == "certificate-refused"


async def test_the_certificate_of_another_ca_is_refused_beside_the_right_root(company, ca) -> None:
    stranger = new_company().issue(H1_DNS)
    padded = msgspec.structs.replace(stranger, chain=(*stranger.chain, *ca.issue("x").chain))
    assert await refused(company, padded) == "certificate-refused"


async def test_an_expired_company_certificate_is_refused(company, ca) -> None:
    assert await refused(company, ca.issue(H1_DNS, age=31 * DAY)) == "certificate-refused"


async def test_a_company_certificate_of_tomorrow_is_refused(company, ca) -> None:
    assert await refused(company, ca.issue(H1_DNS, age=-DAY)) == "certificate-refused"


@pytest.mark.parametrize("usages", [(SERVER,), (ANY_USE,), ()], ids=["server", "any", "none"])
async def test_a_company_certificate_that_is_not_for_clients_is_refused(
    company, ca, usages
) -> None:
    assert await refused(company, ca.issue(H1_DNS, usages=usages)) == "certificate-refused"
    assert (await enrol(company, ca.issue(H1_DNS, usages=(CLIENT,)))).credential


async def test_a_ca_certificate_does_not_join_as_a_host(company, ca) -> None:
    """Neither the root itself, nor one that the company made for a host by mistake."""
    root = certificate_with(ca.key, ca.certificate)
    assert await refused(company, root) == "certificate-refused"
    assert await refused(company, ca.issue(H1_DNS, is_ca=True)) == "certificate-refused"


async def test_a_host_of_the_company_cannot_issue_for_others(company, ca) -> None:
    """The chain is right in every signature; the middle one is no CA."""
    key = new_key()
    mine = ca.issue(H2 + "." + DOMAIN, key=key)
    middle = CompanyCa(key, read_leaf(mine), (read_leaf(mine),))
    assert await refused(company, middle.issue(H1_DNS)) == "certificate-refused"


async def test_a_ca_below_a_ca_that_may_have_none_is_refused(company, ca) -> None:
    deep = ca.below(path_length=0).below()
    assert await refused(company, deep.issue(H1_DNS)) == "certificate-refused"


def read_leaf(certificate: CompanyCertificate):
    return x509.load_der_x509_certificate(certificate.chain[0])


async def test_a_ca_that_signs_no_certificates_is_refused(company, ca) -> None:
    other_work = ca.below(usage=SIGNS_NO_CERTIFICATES)
    assert await refused(company, other_work.issue(H1_DNS)) == "certificate-refused"


def test_a_root_without_a_key_usage_is_one_all_the_same(tmp_path: Path) -> None:
    """As ``openssl req -x509`` makes it."""
    root = new_company(usage=None)
    path = tmp_path / "company.pem"
    path.write_bytes(root.pem)
    said = CompanyStatement(
        authority=bytes(32),
        host=H1,
        public_key=bytes(32),
        requests=new_leaf_keys().requests,
        asked_at=time.time(),
    )
    request = root.issue(H1_DNS).sign(encode(said))
    judge = load_company_authority(path, DOMAIN)
    assert judge.require_host(request, bytes(32), now=time.time()) == said


async def test_a_ca_for_other_names_cannot_name_our_hosts(company, ca) -> None:
    """Name constraints of an issuing CA hold."""
    others = ca.below(permitted=["dev.example.com"])
    assert await refused(company, others.issue(H1_DNS)) == "certificate-refused"
    ours = ca.below(permitted=[DOMAIN])
    assert (await enrol(company, ours.issue(H1_DNS))).credential


@pytest.mark.parametrize(
    "names",
    [
        (H1_DNS, f"h02.{DOMAIN}"),
        (f"*.{DOMAIN}",),
        (f"h01.rack7.{DOMAIN}",),
        ("h01",),
        ("h01.dev.example.com",),
        (f"h01{DOMAIN}",),
        (f"{H1_DNS}.evil.example",),
        (DOMAIN,),
        (H1_DNS, H1_DNS),
    ],
    ids=str,
)
async def test_a_certificate_that_names_no_host_or_several_is_refused(company, ca, names) -> None:
    """Its common name says h01 each time, and counts for nothing."""
    assert await refused(company, ca.issue(*names)) in ("certificate-name", "certificate-refused")


async def test_another_hosts_certificate_does_not_join_for_this_one(company, ca) -> None:
    assert await refused(company, ca.issue(f"h02.{DOMAIN}"), H1) == "certificate-other-host"


async def test_somebody_elses_certificate_is_worth_nothing_without_its_key(company, ca) -> None:
    seen_somewhere = ca.issue(H1_DNS)
    stolen = msgspec.structs.replace(seen_somewhere, key=new_key())
    assert await refused(company, stolen) == "bad-signature"
    assert await alarms_of(company) == []
    assert (await enrol(company, seen_somewhere)).credential, "it used nothing up"


async def test_what_was_signed_cannot_be_changed(company, ca) -> None:
    """The thief puts in an attestation key of its own."""
    request = ca.issue(H1_DNS).sign(encode(a_statement(company)))
    forged = msgspec.structs.replace(request, statement=encode(a_statement(company)))
    assert await refusal_of(company, forged) == "bad-signature"


async def test_a_signature_for_something_else_does_not_join(company, ca) -> None:
    """A key that signs other things for its owner: the statement bare, without its context."""
    certificate = ca.issue(H1_DNS)
    statement = encode(a_statement(company))
    request = certificate.sign(statement)
    assert isinstance(certificate.key, ec.EllipticCurvePrivateKey)
    bare = certificate.key.sign(statement, ec.ECDSA(hashes.SHA256()))
    signed = msgspec.structs.replace(request, signature=bare)
    assert await refusal_of(company, signed) == "bad-signature"


async def test_a_request_for_another_fleet_is_refused(company, ca) -> None:
    said = msgspec.structs.replace(a_statement(company), authority=bytes(32))
    assert await refusal_of(company, ca.issue(H1_DNS).sign(encode(said))) == "other-fleet"


@pytest.mark.parametrize("off_s", [-RENEWAL_AGE_S_MAX - 5, RENEWAL_AGE_S_MAX + 5, float("nan")])
async def test_an_old_request_is_refused(company, ca, off_s: float) -> None:
    said = a_statement(company, off_s=off_s)
    assert await refusal_of(company, ca.issue(H1_DNS).sign(encode(said))) == "stale-request"


async def test_a_replayed_request_is_refused_and_raises_an_alarm(company, ca) -> None:
    request = ca.issue(H1_DNS).sign(encode(a_statement(company)))
    await send(company, request)
    assert await refusal_of(company, request) == "certificate-used-before"
    assert await alarms_of(company) == [(H1, "certificate-used-before")]
    assert company.plane.inventory.get(H1).enrolment == 2, "the thief counts for nothing"


async def test_a_stolen_certificate_joins_no_second_time_until_an_operator_says_so(
    company, ca
) -> None:
    certificate = ca.issue(H1_DNS)
    await enrol(company, certificate)
    assert await refused(company, certificate) == "certificate-used-before"
    assert await alarms_of(company) == [(H1, "certificate-used-before")]
    assert "p2p_enrolment_alarms_total 1.0" in (await company.http.get("/metrics")).text
    await let_join(company, H1)
    await enrol(company, certificate)
    assert company.plane.inventory.get(H1).enrolment == 3


async def test_of_many_copies_at_once_one_joins(company, ca) -> None:
    certificate, outcomes = ca.issue(H1_DNS), list[str]()

    async def try_it() -> None:
        try:
            await enrol(company, certificate)
            outcomes.append("in")
        except TrustError as error:
            outcomes.append(error.code)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(try_it)
    assert sorted(outcomes) == [*["certificate-used-before"] * 5, "in"]


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


@pytest.mark.parametrize("what", ["leaf", "rubbish", "missing", "writable"])
async def test_the_control_plane_does_not_start_with_roots_that_are_none(
    tmp_path: Path, ca, what: str
) -> None:
    """A host's certificate among the roots would be believed without any CA."""
    path = tmp_path / "company.pem"
    if what != "missing":
        pem, _ = write_pem(tmp_path, ca.issue(H1_DNS))
        text = {"leaf": ca.pem + pem.read_bytes(), "rubbish": b"no", "writable": ca.pem}[what]
        path.write_bytes(text)
        path.chmod(0o666 if what == "writable" else 0o600)
    with pytest.raises(ConfigError):
        load_company_authority(path, DOMAIN)


def test_a_key_that_is_not_the_certificates_is_told_at_once(ca, tmp_path: Path) -> None:
    pem, _ = write_pem(tmp_path / "a", ca.issue(H1_DNS))
    _, other = write_pem(tmp_path / "b", ca.issue(H1_DNS))
    with pytest.raises(ConfigError, match="not the certificate's key"):
        load_company_certificate(pem, other)
