"""Operators renew what they have, and nothing more, over real connections."""

from __future__ import annotations

import datetime as dt

import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.messages.operators import RenewalRequest
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.identity import OperatorId
from p2pdeploy.trust.operator_certificate import operator_certificate
from p2pdeploy.trust.tls import Peer
from p2ptracker.operators import rules
from tests.p2ptracker.operators.asking import (
    issue,
    issued_in,
    keep,
    listed,
    person,
    renew,
    request_that_says,
    revoke,
)
from tests.p2ptracker.tracker_bench import code_of, open_http


async def test_anybody_renews_for_itself_with_another_key(tracker) -> None:
    key = new_key()
    async with person(tracker, "ann", "viewer", "publisher:hello", days=5) as ann:
        renewed = issued_in(await renew(ann.http, request=signing_request(key)))
    assert (renewed.name, renewed.roles) == ("ann", ("viewer", "publisher:hello"))
    assert renewed.serial != ann.issued.serial
    assert renewed.expires_at >= ann.issued.expires_at, "as long as the one before"
    assert renewed.expires_at - ann.issued.expires_at < dt.timedelta(minutes=5)
    files = keep(
        tracker.folder, key_to_pem(key) + renewed.certificate_pem, tracker.identity.authority
    )
    async with open_http(files, tracker.ports.api) as http:
        assert (await http.get("/v1/hosts")).status_code == 200


async def test_the_first_admin_renews_too(tracker) -> None:
    assert issued_in(await renew(tracker.http)).roles == ("admin",)


async def test_a_viewer_does_not_renew_into_an_admin(tracker) -> None:
    async with person(tracker, "eve", "viewer") as eve:
        for more in ({"roles": ["admin"]}, {"name": "admin"}):
            assert code_of(await renew(eve.http, **more)) == (400, "bad-request")
        renewed = issued_in(await renew(eve.http, request=request_that_says("admin", "admin")))
    found = operator_certificate(renewed.certificate_pem)
    assert (found.identity.name, found.roles) == ("eve", ("viewer",))


async def test_a_host_gets_no_operators_certificate(tracker) -> None:
    http = tracker.as_host("h01")
    assert code_of(await issue(http, "mallory", "admin")) == (403, "forbidden")
    assert code_of(await renew(http)) == (403, "forbidden")


async def test_a_revoked_operator_does_not_renew(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        assert code_of(await revoke(tracker.http, name="ann")) == (200, "")
        assert code_of(await renew(ann.http)) == (401, "revoked")


async def test_a_renewal_that_passed_the_guard_before_the_revocation_gets_nothing(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        pass
    await revoke(tracker.http, name="ann")
    peer = Peer(identity=OperatorId("lab", "ann"), roles=("viewer",), serial=ann.issued.serial)
    with pytest.raises(TrustError) as refused:
        await tracker.plane.operators.renew(
            RenewalRequest(request=signing_request(new_key())), peer
        )
    assert refused.value.code == "revoked"


async def test_a_certificate_that_is_not_on_record_is_not_renewed(tracker) -> None:
    peer = Peer(identity=OperatorId("lab", "ann"), roles=("admin",), serial="AB" * 20)
    with pytest.raises(TrustError) as refused:
        await tracker.plane.operators.renew(
            RenewalRequest(request=signing_request(new_key())), peer
        )
    assert refused.value.code == "unknown-certificate"


async def test_renewals_of_one_name_are_bounded(tracker) -> None:
    async with person(tracker, "ann", "viewer") as ann:
        for _ in range(rules.CERTIFICATES_PER_NAME_MAX - 1):
            assert code_of(await renew(ann.http)) == (200, "")
        assert code_of(await renew(ann.http)) == (409, "too-many-certificates")
    assert len(await listed(tracker.http)) == 1 + rules.CERTIFICATES_PER_NAME_MAX


async def test_a_malformed_signing_request_is_refused_and_leaves_nothing(tracker) -> None:
    answer = await issue(tracker.http, "ann", "viewer", request=b"garbage")
    assert answer.status_code == 401
    assert [row.name for row in await listed(tracker.http)] == ["admin"]
