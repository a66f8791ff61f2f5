"""SPIFFE ids: three forms, and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.errors import TrustError
from p2pdeploy.ids import HostName
from p2pdeploy.trust.identity import (
    ControlPlaneId,
    HostId,
    Identity,
    OperatorId,
    identity_of,
    spiffe_id,
)


@pytest.mark.parametrize(
    ("identity", "uri"),
    [
        (ControlPlaneId("lab"), "spiffe://lab/control-plane"),
        (OperatorId("lab", "ann"), "spiffe://lab/operator/ann"),
        (HostId("lab", "prod", "web", HostName("h1")), "spiffe://lab/prod/web/h1"),
    ],
)
def test_an_identity_is_its_uri(identity: Identity, uri: str) -> None:
    assert spiffe_id(identity) == uri
    assert identity_of(uri) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://lab/control-plane",
        "spiffe://lab",
        "spiffe://lab/",
        "spiffe://lab/control-plane/",
        "spiffe://lab/control-plane/x",
        "spiffe://lab/operator/../control-plane",
        "spiffe://lab/a/b/..",
        "spiffe://lab/a/b/c/d",
        "spiffe://lab/operator/ann\n",
        "spiffe://lab/a/b/c?x=1",
        "spiffe://" + "x" * 600 + "/control-plane",
    ],
)
def test_anything_else_is_nobody(uri: str) -> None:
    with pytest.raises(TrustError):
        identity_of(uri)


@given(st.text(max_size=60))
def test_noise_is_nobody_or_itself(noise: str) -> None:
    with contextlib.suppress(TrustError):
        assert spiffe_id(identity_of(f"spiffe://{noise}")) == f"spiffe://{noise}"
