"""One input at a time: make it from its number, feed it, and say how to see it again."""

from __future__ import annotations

from random import Random

from tests.fuzz.company_decoders import COMPANY_DECODERS
from tests.fuzz.decoder import Decoder
from tests.fuzz.file_decoders import FILE_DECODERS
from tests.fuzz.mutations import mutated
from tests.fuzz.release_decoders import RELEASE_DECODERS
from tests.fuzz.trust_decoders import TRUST_DECODERS
from tests.fuzz.wire_decoders import WIRE_DECODERS

_ALL = (*WIRE_DECODERS, *TRUST_DECODERS, *COMPANY_DECODERS, *RELEASE_DECODERS, *FILE_DECODERS)
DECODERS = {each.name: each for each in _ALL}
assert len(DECODERS) == len(_ALL), "two decoders of one name"

_HEX_SHOWN_MAX = 4_096  # longer ones are made anew from their number


def input_of(decoder: Decoder, seed: int) -> bytes:
    """Input number *seed* of *decoder*, the same on every machine."""
    return mutated(decoder.samples, decoder.form, Random(f"{decoder.name}/{seed}"))


def fed(decoder: Decoder, data: bytes) -> bool:
    """Whether *decoder* accepts *data*; what it may not raise passes through."""
    try:
        decoder.read(data)
    except decoder.refuses:
        return False
    return True


def feed_numbers(decoder: Decoder, seeds: range) -> int:
    """Feed the inputs with these numbers; returns how many were accepted.

    Raises:
        AssertionError: one of them raised what it may not; says how to replay it.
    """
    accepted = 0
    for seed in seeds:
        data = input_of(decoder, seed)
        try:
            accepted += fed(decoder, data)
        except Exception as error:
            raise AssertionError(failure(decoder, seed, data, error)) from error
    return accepted


def failure(decoder: Decoder, which: int | str, data: bytes, error: Exception) -> str:
    """What happened to input number *which*, or bomb *which*, and how to see it again."""
    shown = data.hex() if len(data) <= _HEX_SHOWN_MAX else f"{data[:64].hex()}... ({len(data)})"
    how = f"{which}" if isinstance(which, int) else f"--bomb '{which}'"
    return (
        f"{decoder.name}: {which} raised {type(error).__name__}: {str(error)[:200]}\n"
        f"input: {shown}\n"
        f"replay: .venv/bin/python -m tests.fuzz.replay '{decoder.name}' {how}"
    )
