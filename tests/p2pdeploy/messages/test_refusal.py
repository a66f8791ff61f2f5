"""A refusal of the control plane says who must act, in its own words."""

from __future__ import annotations

import msgspec
import pytest

from p2pdeploy.errors import (
    NotFoundError,
    P2PDeployError,
    PayloadError,
    RefusedError,
    TrustError,
    UnavailableError,
)
from p2pdeploy.messages.api import ErrorBody, ErrorDocument
from p2pdeploy.messages.refusal import refusal_of

WHERE = "https://127.0.0.1:7400/v1/hosts"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, TrustError),
        (403, TrustError),
        (404, NotFoundError),
        (409, RefusedError),
        (422, PayloadError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
def test_the_status_gives_the_class_and_the_body_the_words(
    status: int, kind: type[P2PDeployError]
) -> None:
    said = ErrorBody(code="gone", message="no such thing", where="web", hint="look")
    error = refusal_of(status, msgspec.json.encode(ErrorDocument(error=said)), where=WHERE)
    assert type(error) is kind
    told = (error.code, error.message, error.where, error.hint)
    assert told == ("gone", "no such thing", "web", "look")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": 7}', b"[" * 5_000, b'"\xff"'])
def test_a_refusal_without_words_is_of_the_class_that_the_caller_names(body: bytes) -> None:
    error = refusal_of(409, body, where=WHERE, unclear=UnavailableError)
    assert type(error) is UnavailableError
    assert error.where == WHERE
    assert type(refusal_of(404, body, where=WHERE)) is NotFoundError
