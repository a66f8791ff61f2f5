"""What was encoded decodes to the same, for every message type, generated from its schema."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

import p2pdeploy.messages
from p2pdeploy.activation.record import HostRecord, ServiceRecord
from p2pdeploy.codec import decode, encode
from p2pdeploy.manifest import ChunkIndex, Manifest
from p2pdeploy.planning.conducted import Conducted
from p2pdeploy.topology import Host
from p2pdeploy.trust.bundle import TrustBundle
from p2pdeploy.trust.cell_keys import CellKeys
from p2pdeploy.trust.credential import Credential
from p2pdeploy.trust.envelope import Envelope
from p2pdeploy.trust.host_identity import Validity
from p2pdeploy.trust.join_token import JoinToken
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.proposals import Proposal
from p2pdeploy.trust.releases.seen import Seen
from p2pdeploy.trust.revocations import Revocations
from tests.fuzz.schemas import messages

_LIBRARY: tuple[type[msgspec.Struct], ...] = (
    *(Envelope, Credential, Revocations, TrustBundle, CellKeys, JoinToken, Validity),
    *(ReleaseBundle, Proposal, Seen, Manifest, ChunkIndex, Host),
    *(HostRecord, ServiceRecord, Conducted),
)


def message_types() -> list[type[msgspec.Struct]]:
    """Every type of p2pdeploy/messages, and what else is written down or sent."""
    found = dict.fromkeys(_LIBRARY)
    for module in pkgutil.iter_modules(p2pdeploy.messages.__path__):
        name = f"p2pdeploy.messages.{module.name}"
        found |= {
            kind: None
            for kind in vars(importlib.import_module(name)).values()
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
            if kind.__module__ == name
        }
    return list(found)


KINDS = message_types()
NAMES = [f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}" for kind in KINDS]


def test_every_message_type_is_found() -> None:
    assert {"orders.Plan", "gossip.Packet", "api.RolloutView", "enrolment.RenewRequest"} <= set(
        NAMES
    )
    assert len(KINDS) > 80


def check_round_trips(kind: Any, count: int) -> None:
    @settings(max_examples=count, derandomize=True, database=None, deadline=None)
    @given(message=messages(kind))
    def goes_round(message: Any) -> None:
        data = encode(message)
        assert decode(data, kind, bytes_max=len(data)) == message
        assert encode(message) == data
        assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message

    goes_round()


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_what_was_encoded_decodes_to_the_same(kind: Any) -> None:
    check_round_trips(kind, 20)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_what_was_encoded_decodes_to_the_same_in_full_count(kind: Any) -> None:
    check_round_trips(kind, 1_000)
