"""Which certificates of a company's CA let a host in, and every wrong one that does not."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from p2pdaemon.join_by_certificate import CompanyCertificate, load_company_certificate
from p2pdeploy.codec import encode
from p2pdeploy.errors import ConfigError
from p2pdeploy.messages.enrolment_company import CompanyStatement
from p2pdeploy.trust.host_keys import new_leaf_keys
from p2ptracker.enrolment.company import load_company_authority
from tests.p2ptracker.enrolment.by_certificate import H1, H1_DNS, H2, enrol, refused
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
    write_pem,
)


def test_a_file_of_too_many_roots_is_refused_and_not_cut(ca, tmp_path: Path) -> None:
    path = tmp_path / "company.pem"
    path.write_bytes(ca.pem * (1 + 256 * 1024 // len(ca.pem)))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="larger than"):
        load_company_authority(path, DOMAIN)


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
