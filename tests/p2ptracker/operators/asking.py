"""People who ask a real control plane for certificates, each over a connection of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from p2pdeploy.messages.operators import IssuedOperator, OperatorView
from p2pdeploy.trust.certificates import key_to_pem, new_key, signing_request
from p2pdeploy.trust.private_files import write_private
from p2pdeploy.trust.tls import IdentityFiles
from tests.p2ptracker.tracker_bench import Tracker, open_http

__all__ = [
    "Person",
    "issue",
    "issued_in",
    "keep",
    "listed",
    "person",
    "renew",
    "request_that_says",
    "revoke",
]


class Person:
    """Somebody with a key and a certificate, connected."""

    def __init__(self, http: httpx2.AsyncClient, issued: IssuedOperator) -> None:
        self.http = http
        self.issued = issued


def issued_in(answer: httpx2.Response) -> IssuedOperator:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=IssuedOperator)


def request_that_says(name: str, *roles: str) -> bytes:
    """A signing request with names of its own, which ours never have."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, role) for role in roles]
    uri = x509.UniformResourceIdentifier(f"spiffe://lab/operator/{name}")
    builder = x509.CertificateSigningRequestBuilder(x509.Name(attributes)).add_extension(
        x509.SubjectAlternativeName([uri]), critical=False
    )
    request = builder.sign(new_key(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


async def post(http: httpx2.AsyncClient, path: str, document: dict[str, Any]) -> httpx2.Response:
    return await http.post(
        f"/v1/operators{path}",
        content=msgspec.json.encode(document),
        headers={"Content-Type": "application/json"},
    )


async def issue(
    http: httpx2.AsyncClient, name: str, *roles: str, request: bytes = b"", **more: Any
) -> httpx2.Response:
    request = request or signing_request(new_key())
    return await post(http, "", {"name": name, "roles": roles, "request": request, **more})


async def renew(http: httpx2.AsyncClient, *, request: bytes = b"", **more: Any) -> httpx2.Response:
    return await post(http, "/renewal", {"request": request or signing_request(new_key()), **more})


async def revoke(http: httpx2.AsyncClient, **what: str) -> httpx2.Response:
    return await post(http, "/revocation", what)


async def listed(http: httpx2.AsyncClient) -> list[OperatorView]:
    answer = await http.get("/v1/operators")
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=list[OperatorView])


def keep(folder: Path, pem: bytes, authority: Path) -> IdentityFiles:
    path = folder / f"{len(list(folder.glob('*.person')))}.person"
    write_private(path, pem)
    return IdentityFiles(certificate=path, key=path, authority=authority)


@asynccontextmanager
async def person(tracker: Tracker, name: str, *roles: str, **more: Any) -> AsyncGenerator[Person]:
    """*name*, whom the tracker's admin gives *roles*."""
    key = new_key()
    request = signing_request(key)
    issued = issued_in(await issue(tracker.http, name, *roles, request=request, **more))
    pem = key_to_pem(key) + issued.certificate_pem
    files = keep(tracker.folder, pem, tracker.identity.authority)
    async with open_http(files, tracker.ports.api) as http:
        yield Person(http, issued)
