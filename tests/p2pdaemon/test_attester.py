"""What this host says of itself while its fleet believes it, and while it does not."""

from __future__ import annotations

import pytest

from p2pdaemon.cell_feed import make_gossip
from p2pdaemon.refused import Refused
from p2pdaemon.reporter import Attester
from p2pdeploy.ids import HostName
from p2pdeploy.messages.attestation import Rank
from p2pdeploy.testing.fleet_keys import FleetKeys
from p2pdeploy.testing.orders import CELL, WEB, a_word
from p2pdeploy.trust.cell_keys import first_cell_keys
from p2pdeploy.trust.keyring import FleetVerifier
from p2pdeploy.trust.revocations import Revocations
from tests.p2pdaemon.conftest import config_of

H3 = HostName("h3")
WORD = a_word(H3, 1, Rank.HEALTHY)
ENROLMENT = WORD.epoch >> 32
KEY = f"att/{WEB}/{H3}"


class Host:
    """One host whose gossip and verifier are real."""

    def __init__(self, folder) -> None:
        self.keys = FleetKeys()
        self.keys.seal(WORD)  # gives its key a credential
        self.refused = Refused("lab", CELL)
        self.verifier = FleetVerifier(self.keys.orders, self.refused.floors)
        self.gossip = make_gossip(
            config_of(H3, folder), first_cell_keys(CELL, b"g" * 32), self.verifier
        )
        self.attester = Attester(self.gossip, self.keys.host(H3), self.verifier)

    def revoke(self) -> None:
        """As when it was enrolled anew beside its running daemon."""
        floors = {H3: ENROLMENT + 1}
        self.refused.take(
            Revocations(fleet="lab", cell=CELL, seq=1, floors=floors, refused={}, serials=())
        )


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path)


async def test_a_word_that_is_believed_reaches_the_cell(host: Host) -> None:
    host.attester.publish(WORD)
    assert host.attester.disbelief() is None
    assert host.gossip.state.get(KEY) is not None


async def test_a_host_that_was_enrolled_anew_keeps_its_word_to_itself_and_lives(
    host: Host, logged
) -> None:
    host.revoke()
    error = host.attester.disbelief()
    assert error is not None
    assert error.code == "revoked"
    host.attester.publish(WORD)
    assert host.gossip.state.get(KEY) is None
    assert host.attester.newest() == {WORD.service: WORD}
    assert [entry["code"] for entry in logged] == ["revoked"]


async def test_a_credential_under_a_key_that_is_gone_is_believed_again_after_a_renewal(
    host: Host,
) -> None:
    rotated = FleetKeys(keys={**host.keys.roles, "enrol": FleetKeys().roles["enrol"]})
    host.verifier.use(rotated.orders)
    host.attester.publish(WORD)
    assert host.attester.disbelief() is not None
    rotated._hosts[H3] = host.keys.host(H3)
    rotated.seal(WORD)  # its key gets another credential
    assert host.attester.disbelief() is None
    host.attester.publish(WORD)
    assert host.gossip.state.get(KEY) is not None


async def test_a_word_that_is_refused_for_anything_else_is_no_crash_and_ends_belief(
    host: Host,
) -> None:
    host.attester.publish(a_word(HostName("h4"), 1, Rank.HEALTHY))
    error = host.attester.disbelief()
    assert error is not None
    assert "speaks as" in str(error)
