"""``p2pdaemon join`` against a control plane that runs: who gets in, and who doesn't."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from p2pdaemon.enrolment_client import open_enrolment
from p2pdaemon.join import join, require_ours
from p2pdaemon.judge_bundle import SEEN_FILE
from p2pdaemon.state_lock import only_daemon
from p2pdeploy.codec import encode
from p2pdeploy.errors import RefusedError, TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.messages.api import ErrorDocument
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.enrolment import EnrolRequest, IssuedIdentity, SigningRequests
from p2pdeploy.trust.certificates import fingerprint, new_authority, new_key
from p2pdeploy.trust.host_identity import load_identity, load_validity
from p2pdeploy.trust.host_keys import new_attestation_key, new_leaf_keys
from p2pdeploy.trust.join_token import read_join_token, show_join_token
from p2pdeploy.trust.releases.seen import Seen
from p2ptracker.authority.create import create_trust
from p2ptracker.enrolment import gate
from p2ptracker.storage.enrolment import newest_alarms

H1, H2 = HostName("h01"), HostName("h02")


def a_request(secret: bytes, host: HostName = H1) -> EnrolRequest:
    keys = new_leaf_keys()
    return EnrolRequest(
        host=host,
        secret=secret,
        public_key=new_attestation_key(host).public_key,
        requests=keys.requests,
    )


async def enrol(tracker, request: EnrolRequest) -> IssuedIdentity:
    """As a host without any certificate."""
    api = f"https://127.0.0.1:{tracker.ports.api}"
    pem = tracker.plane.trust.fleet_ca.pem
    async with open_enrolment(api, pem, address="127.0.0.1") as client:
        return await client.enrol(request)


async def refusal_of(tracker, request: EnrolRequest) -> str:
    with pytest.raises(TrustError) as refused:
        await enrol(tracker, request)
    return refused.value.code


def leaf_of(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


async def test_the_audit_log_says_who_joined(tracker, config_of, token_for) -> None:
    await join(config_of(tracker.plane.inventory.get(H1)), await token_for(tracker, H1))
    answer = await tracker.http.get("/v1/audit")
    entries = msgspec.json.decode(answer.content, type=list[AuditEntry])
    joined = [entry for entry in entries if entry.path == "/v1/enrolment"]
    assert [(entry.step, entry.who) for entry in joined] == [("done", "spiffe://lab/lab/web/h01")]


async def test_a_host_that_comes_when_it_is_full_hears_when_to_come_back(
    tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "WITHIN_MAX", 0)
    answer = await tracker.http.post("/v1/enrolment", content=encode(a_request(b"x" * 32)))
    assert answer.status_code == 503
    error = msgspec.json.decode(answer.content, type=ErrorDocument).error
    assert error.code == "issuing-busy"
    assert 1 <= int(answer.headers["Retry-After"]) <= gate.RETRY_S_MAX


async def test_a_host_joins_with_its_token(tracker, config_of, token_for) -> None:
    config = config_of(tracker.plane.inventory.get(H1))
    said = await join(config, await token_for(tracker, H1))
    assert "h01 is a host of lab now" in said
    identity = load_identity(config.identity_dir, H1)
    assert identity.credential.host == H1
    assert identity.credential.fault_domain == config.fault_domain
    validity = load_validity(config.identity_dir)
    assert validity is not None
    assert validity.expires_at - validity.issued_at == dt.timedelta(hours=24).total_seconds()
    ssl.create_default_context().load_cert_chain(identity.files.certificate)


async def test_what_a_host_got_opens_the_api_to_it(tracker, config_of, token_for) -> None:
    config = config_of(tracker.plane.inventory.get(H1))
    await join(config, await token_for(tracker, H1))
    files = load_identity(config.identity_dir, H1).files
    certificate = leaf_of(files.certificate.read_bytes())
    (uri,) = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri == "spiffe://lab/lab/web/h01"
    (number,) = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    assert int(str(number.value)) == tracker.plane.inventory.get(H1).enrolment == 2


async def test_a_host_that_joined_is_left_alone(tracker, config_of, token_for) -> None:
    config = config_of(tracker.plane.inventory.get(H1))
    await join(config, await token_for(tracker, H1))
    before = (config.identity_dir / "leaf.pem").read_bytes()
    token = await token_for(tracker, H1)
    assert "already" in await join(config, token)
    assert (config.identity_dir / "leaf.pem").read_bytes() == before
    assert "enrolment 3" in await join(config, token, again=True), "the token was not used up"


async def test_a_host_whose_daemon_runs_does_not_join_anew(tracker, config_of, token_for) -> None:
    """The daemon would go on under the old identity, which nobody believes from then on."""
    config = config_of(tracker.plane.inventory.get(H1))
    await join(config, await token_for(tracker, H1))
    before = (config.identity_dir / "leaf.pem").read_bytes()
    token = await token_for(tracker, H1)
    with only_daemon(config.state_dir):
        with pytest.raises(RefusedError, match="stop it first") as caught:
            await join(config, token, again=True)
        assert "already" in await join(config, token)
    assert caught.value.code == "daemon-runs"
    assert (config.identity_dir / "leaf.pem").read_bytes() == before
    assert tracker.plane.inventory.get(H1).enrolment == 2
    assert "enrolment 3" in await join(config, token, again=True), "the token was not used up"


async def test_who_joins_anew_forgets_what_it_saw_of_releases(
    tracker, config_of, token_for
) -> None:
    """Joining is how a host comes back after root keys were stolen, or its memory was damaged."""
    config = config_of(tracker.plane.inventory.get(H1))
    await join(config, await token_for(tracker, H1))
    config.state_dir.mkdir(parents=True, exist_ok=True)
    seen = config.state_dir / SEEN_FILE
    seen.write_bytes(b"of another root")
    token = await token_for(tracker, H1)
    await join(config, token)
    assert seen.read_bytes() == b"of another root", "a host that joined is left alone"
    await join(config, token, again=True)
    assert Seen.from_bytes(seen.read_bytes()).root_version == 1
    root = load_identity(config.identity_dir, H1).bundle.release_root
    assert root == tracker.plane.trust.paths.release_root.read_bytes()


async def test_a_reused_token_is_refused_and_raises_an_alarm(tracker, token_for) -> None:
    secret = read_join_token(await token_for(tracker, H1)).secret
    await enrol(tracker, a_request(secret))
    assert await refusal_of(tracker, a_request(secret)) == "token-used-before"
    (alarm,) = await tracker.plane.database.read(newest_alarms)
    assert (alarm.host, alarm.code) == (H1, "token-used-before")
    figures = (await tracker.http.get("/metrics")).text
    assert "p2p_enrolment_alarms_total 1.0" in figures
    assert tracker.plane.inventory.get(H1).enrolment == 2, "the thief counts for nothing"


async def test_an_expired_token_is_refused(tracker, token_for) -> None:
    secret = read_join_token(await token_for(tracker, H1, ttl_s=0.001)).secret
    assert await refusal_of(tracker, a_request(secret)) == "token-expired"


async def test_a_guessed_token_is_refused_and_leaves_no_row(tracker) -> None:
    assert await refusal_of(tracker, a_request(bytes(32))) == "token-unknown"
    assert await tracker.plane.database.read(newest_alarms) == []


async def test_a_token_for_another_host_is_refused_and_not_used_up(
    tracker, config_of, token_for
) -> None:
    text = await token_for(tracker, H1)
    with pytest.raises(RefusedError, match="for host 'h01'"):
        await join(config_of(tracker.plane.inventory.get(H2)), text)
    secret = read_join_token(text).secret
    assert await refusal_of(tracker, a_request(secret, H2)) == "token-other-host"
    assert (await enrol(tracker, a_request(secret))).credential


async def test_a_request_that_asks_for_other_names_gets_the_inventorys(tracker, token_for) -> None:
    """The request's own names: those of the control plane, and of any server."""
    key = new_key()
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "control-plane")])
    wanted = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://lab/control-plane"), x509.DNSName("*")]
    )
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(names)
        .add_extension(wanted, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    secret = read_join_token(await token_for(tracker, H1)).secret
    request = msgspec.structs.replace(
        a_request(secret), requests=SigningRequests(fleet=greedy, swarm=greedy)
    )
    issued = await enrol(tracker, request)
    certificate = leaf_of(issued.certificate_pem)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://lab/lab/web/h01"]
    assert found.get_values_for_type(x509.DNSName) == []
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not basic.ca
    assert "control-plane" not in certificate.subject.rfc4514_string()


async def test_a_malformed_signing_request_does_not_use_the_token_up(tracker, token_for) -> None:
    secret = read_join_token(await token_for(tracker, H1)).secret
    good = a_request(secret)
    bad = msgspec.structs.replace(good, requests=SigningRequests(fleet=b"x", swarm=b"y"))
    await refusal_of(tracker, bad)
    assert (await enrol(tracker, good)).credential


async def test_a_control_plane_of_another_authority_is_not_joined(
    tracker, config_of, token_for, tmp_path: Path
) -> None:
    """Somebody answers at the address; the token's fingerprint tells that it is a stranger."""
    config = config_of(tracker.plane.inventory.get(H1))
    token = read_join_token(await token_for(tracker, H1))
    pinned = bytes.fromhex(fingerprint(new_authority("lab fleet CA", now=_now()).pem))
    text = show_join_token(msgspec.structs.replace(token, fingerprint=pinned))
    with pytest.raises(TrustError) as refused:
        await join(config, text)
    assert refused.value.code == "wrong-authority"
    assert not config.identity_dir.exists(), "nothing is written"
    assert await tracker.plane.database.read(newest_alarms) == []
    assert (await enrol(tracker, a_request(token.secret))).credential, "it was not told the secret"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def test_an_answer_for_somebody_else_is_not_kept(tracker, token_for, tmp_path: Path) -> None:
    key = new_attestation_key(H1)
    secret = read_join_token(await token_for(tracker, H1)).secret
    issued = await enrol(tracker, a_request(secret))
    pem, orders = tracker.plane.trust.fleet_ca.pem, tracker.plane.repository.order_keys
    with pytest.raises(TrustError):
        require_ours(issued, orders, pem, host=H1, public_key=key.public_key)
    other = create_trust(tmp_path / "other", "lab", now=_now())
    foreign = msgspec.structs.replace(issued, bundle=other.bundle())
    with pytest.raises(TrustError):
        require_ours(foreign, orders, pem, host=H1, public_key=key.public_key)
