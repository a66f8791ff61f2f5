"""Requests signed with a company's certificate: stolen, changed, replayed, and for others."""

from __future__ import annotations

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from p2pdeploy.codec import encode
from p2pdeploy.errors import TrustError
from p2pdeploy.messages.enrolment import RENEWAL_AGE_S_MAX
from tests.p2ptracker.enrolment.by_certificate import (
    H1,
    H1_DNS,
    a_statement,
    alarms_of,
    enrol,
    let_join,
    refusal_of,
    refused,
    send,
)
from tests.p2ptracker.enrolment.company_ca import DOMAIN, new_key


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
