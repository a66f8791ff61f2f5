"""Renewal: the one path by which a host keeps its certificates, and gets them back."""

from __future__ import annotations

import datetime as dt
import random
import time

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.enrolment import RENEWAL_AGE_S_MAX
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.trust.certificates import HOST_LIFETIME
from p2pdeploy.trust.envelope import open_envelope, seal
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys, renewal
from p2pdeploy.trust.identity import HostId, spiffe_id
from p2ptracker.authority.create import create_trust
from p2ptracker.authority.issue import issue_host
from p2ptracker.enrolment.gate import RETRY_S_MAX, WITHIN_MAX, BusyError, IssuingGate
from p2ptracker.keys.rotation import Waits
from tests.p2ptracker.enrolment.joined import join_as, renew_as

H1, H2 = HostName("h01"), HostName("h02")


async def refused(tracker, host, request) -> str:
    with pytest.raises(TrustError) as error:
        await renew_as(tracker, host, request)
    return error.value.code


async def test_a_host_renews_with_its_attestation_key(tracker, config_of, token_for) -> None:
    async with join_as(tracker, config_of, token_for, H1) as host:
        keys = new_leaf_keys()
        issued = await renew_as(tracker, host, renewal(host.identity.key, keys, now=time.time()))
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    private = load_pem_private_key(keys.fleet_pem, password=None)
    assert certificate.public_key() == private.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri == spiffe_id(HostId("lab", "lab", "web", H1))


async def test_a_host_whose_certificate_expired_long_ago_gets_a_new_one(
    tracker, config_of, token_for
) -> None:
    """It presents no certificate at all: renewing and coming back are one path."""
    async with join_as(tracker, config_of, token_for, H1) as host:
        pass
    issued = await renew_as(tracker, host)
    assert issued.expires_at > time.time() + HOST_LIFETIME.total_seconds() - 60


async def test_a_renewal_by_another_hosts_key_is_refused(tracker, config_of, token_for) -> None:
    async with (
        join_as(tracker, config_of, token_for, H1) as victim,
        join_as(tracker, config_of, token_for, H2) as thief,
    ):
        stolen = msgspec.structs.replace(
            renewal(thief.identity.key, new_leaf_keys(), now=time.time()),
            credential=victim.identity.key.credential,
        )
        assert await refused(tracker, thief, stolen) == "bad-signature"


async def test_a_credential_that_nobody_sealed_is_refused(tracker, config_of, token_for) -> None:
    """A thief's own control plane makes everything right but the key it signs with."""
    other = create_trust(tracker.folder / "other", "lab", now=dt.datetime.now(dt.UTC))
    key, keys = new_attestation_key(H1), new_leaf_keys()
    host = tracker.plane.inventory.get(H1)
    now = dt.datetime.now(dt.UTC)
    issued = issue_host(other, host, key.public_key, keys.requests, now=now)
    key.credential = issued.credential
    async with join_as(tracker, config_of, token_for, H2) as anybody:
        request = renewal(key, keys, now=time.time())
        assert await refused(tracker, anybody, request) == "bad-signature"


async def test_a_replayed_renewal_gives_its_sender_nothing(tracker, config_of, token_for) -> None:
    """Inside the time allowed it is answered, with certificates for keys the thief lacks."""
    async with join_as(tracker, config_of, token_for, H1) as host:
        keys = new_leaf_keys()
        request = renewal(host.identity.key, keys, now=time.time())
        await renew_as(tracker, host, request)
        again = await renew_as(tracker, host, request)
        ours = load_pem_private_key(keys.fleet_pem, password=None).public_key()
        issued = x509.load_pem_x509_certificate(again.certificate_pem)
        assert issued.public_key() == ours, "of no use without the key that only the host has"
        other = msgspec.structs.replace(request, requests=new_leaf_keys().requests)
        assert await refused(tracker, host, other) == "bad-signature"


@pytest.mark.parametrize("off_s", [-RENEWAL_AGE_S_MAX - 5, RENEWAL_AGE_S_MAX + 5, float("nan")])
async def test_an_old_renewal_is_refused(tracker, config_of, token_for, off_s: float) -> None:
    async with join_as(tracker, config_of, token_for, H1) as host:
        request = renewal(host.identity.key, new_leaf_keys(), now=time.time() + off_s)
        assert await refused(tracker, host, request) == "stale-request"


async def test_a_host_that_left_the_inventory_cannot_renew(
    fleet_dir, started, config_of, token_for
) -> None:
    async with (
        started(fleet_dir) as tracker,
        join_as(tracker, config_of, token_for, H1) as host,
    ):
        pass
    path = fleet_dir / "inventory.json"
    hosts = msgspec.json.decode(path.read_bytes(), type=list[dict])
    path.write_bytes(msgspec.json.encode([h for h in hosts if h["name"] != H1]))
    async with started(fleet_dir) as tracker:
        assert await refused(tracker, host, None) == "revoked"


async def test_whoever_comes_when_it_is_full_is_told_when_to_come_back(tracker) -> None:
    gate = IssuingGate(random.Random(1))
    waits: set[int] = set()
    with_all = [gate.admitted() for _ in range(WITHIN_MAX)]
    for each in with_all:
        each.__enter__()
    for _ in range(50):
        with pytest.raises(BusyError) as busy, gate.admitted():
            pass
        waits.add(busy.value.retry_after_s)
    assert len(waits) > 10, "not all at the same moment"
    assert all(1 <= wait <= RETRY_S_MAX for wait in waits)
    with_all[0].__exit__(None, None, None)
    with gate.admitted():
        pass


async def test_who_stole_the_enrol_key_renews_as_nobody(tracker, config_of, token_for) -> None:
    """Else his credential would be sealed anew when that key is rotated because of him."""
    stolen = tracker.plane.trust.keys["enrol"]
    async with join_as(tracker, config_of, token_for, H1) as host:
        for enrolment in (host.identity.credential.enrolment, 99):
            key = new_attestation_key(H1)
            forged = msgspec.structs.replace(
                host.identity.credential, public_key=key.public_key, enrolment=enrolment
            )
            key.credential = seal(forged, stolen)
            request = renewal(key, new_leaf_keys(), now=time.time())
            assert await refused(tracker, host, request) == "bad-credential"


async def test_a_host_that_was_away_through_a_rotation_comes_back(
    tracker, config_of, token_for
) -> None:
    async with join_as(tracker, config_of, token_for, H1) as host:
        tracker.plane.keys.waits = Waits(step_s=0.0, credentials_s=0.0)
        await tracker.plane.keys.rotate("enrol", RotationRequest())
        await tracker.plane.keys._step("enrol")
        await tracker.plane.keys._step("enrol")
        with pytest.raises(TrustError):
            open_envelope(host.identity.key.credential, tracker.plane.verifier)
        request = renewal(host.identity.key, new_leaf_keys(), now=time.time())
        issued = await renew_as(tracker, host, request)
        credential = open_envelope(issued.credential, tracker.plane.verifier)
        assert credential == host.identity.credential, "sealed anew"
