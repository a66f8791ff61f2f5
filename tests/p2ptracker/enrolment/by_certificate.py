"""Hosts that ask a real control plane to let them in by their company's certificate."""

from __future__ import annotations

import time

import pytest

from p2pdaemon.enrolment_client import open_enrolment
from p2pdaemon.join_by_certificate import CompanyCertificate
from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import IssuedIdentity
from p2pdeploy.messages.enrolment_company import CompanyEnrolRequest, CompanyStatement
from p2pdeploy.trust.certificates import fingerprint
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys
from p2ptracker.storage.enrolment import newest_alarms
from tests.p2ptracker.enrolment.company_ca import DOMAIN

H1, H2 = HostName("h01"), HostName("h02")
H1_DNS = f"{H1}.{DOMAIN}"


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
