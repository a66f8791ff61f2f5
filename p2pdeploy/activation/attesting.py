"""What a host tells its cell of one service: a word whenever the truth differs from the last."""

from __future__ import annotations

import msgspec

from p2pdeploy.activation.effects import Attest
from p2pdeploy.activation.service import Slot
from p2pdeploy.ids import CellId, Digest, FaultDomain, HostName, Version
from p2pdeploy.messages.attestation import Attestation, reason_of

__all__ = ["Speaker", "attest", "say_again"]


class Speaker(msgspec.Struct, frozen=True):
    """Who speaks; ``epoch`` rises with every boot."""

    host: HostName
    cell: CellId
    fault_domain: FaultDomain
    epoch: int


def attest(slot: Slot, speaker: Speaker) -> list[Attest]:
    """The word on *slot*, unless it was said already or nobody knows yet what runs."""
    if not slot.known:
        return []
    last = slot.mine
    word = _word_on(slot, speaker, seq=last.seq if last else 0)
    return [] if word == last else [_say(slot, word)]


def say_again(slot: Slot) -> list[Attest]:
    """The last word on *slot* under a new number, if there was one."""
    return [] if slot.mine is None else [_say(slot, slot.mine)]


def _say(slot: Slot, word: Attestation) -> Attest:
    slot.mine = msgspec.structs.replace(word, seq=word.seq + 1)
    return Attest(slot.mine)


def _word_on(slot: Slot, speaker: Speaker, *, seq: int) -> Attestation:
    plan_seq, attempt, rank = slot.rank(slot.duty())
    shown = slot.record.running
    if slot.changing is not None and slot.state != "rolling-back":
        shown = slot.changing.build or shown
    trouble = slot.trouble()
    return Attestation(
        cell=speaker.cell,
        host=speaker.host,
        service=slot.record.service,
        fault_domain=speaker.fault_domain,
        epoch=speaker.epoch,
        seq=seq,
        plan_seq=plan_seq,
        attempt=attempt,
        rank=rank,
        state=slot.state,
        version=shown.version if shown else Version(""),
        digest=shown.digest if shown else Digest(""),
        port=slot.port if shown else 0,
        since=slot.since,
        reason_code=trouble.code if trouble else slot.record.reason_code,
        reason=reason_of(trouble.message if trouble else slot.record.reason),
        fetched_bytes=slot.fetched_bytes,
        reused_bytes=slot.reused_bytes,
        prefetched=tuple(b.digest for b in slot.ahead if slot.has_ahead(b)),
    )
