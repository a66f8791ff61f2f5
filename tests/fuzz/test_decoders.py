"""No bytes make a decoder raise anything but what it says, nor take more memory than it says."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest

from tests.fuzz.bombs import bombs_for
from tests.fuzz.decoder import Decoder
from tests.fuzz.running import DECODERS, failure, fed, feed_numbers, input_of

SAMPLE = 2_000
SOAK = 50_000  # of each decoder: close to four million in all
BOMB_CPU_S_MAX = 5.0  # quadratic readers take minutes; a busy machine does not change this figure

# Their samples are made from the type alone, and break rules between the fields.
UNLIKE_REAL_LIFE = ("users",)

every_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)


@every_decoder
def test_honest_input_is_accepted(decoder: Decoder) -> None:
    """Else the fuzzer would only ever see the first check."""
    if decoder.name not in UNLIKE_REAL_LIFE:
        assert fed(decoder, decoder.samples[0])


@every_decoder
def test_mutated_input_is_refused_as_documented(decoder: Decoder) -> None:
    accepted = feed_numbers(decoder, range(SAMPLE))
    assert accepted < SAMPLE or not decoder.refuses, "mutations that never matter test nothing"


@pytest.mark.soak
@every_decoder
def test_mutated_input_is_refused_as_documented_in_full_count(decoder: Decoder) -> None:
    feed_numbers(decoder, range(SAMPLE, SAMPLE + SOAK))


@every_decoder
def test_bombs_are_refused_in_bounded_memory_and_time(decoder: Decoder) -> None:
    for name, bomb in bombs_for(decoder.samples, decoder.form):
        tracemalloc.start()
        began_s = time.process_time()
        try:
            fed(decoder, bomb)
        except Exception as error:
            raise AssertionError(failure(decoder, name, bomb, error)) from error
        finally:
            spent_s = time.process_time() - began_s
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak_bytes <= decoder.memory_bytes_max, f"bomb {name!r} took {peak_bytes} bytes"
        assert spent_s <= BOMB_CPU_S_MAX, f"bomb {name!r} took {spent_s:.1f} s"


def test_the_same_number_is_the_same_input_in_another_process() -> None:
    """Or no failure could be replayed."""
    script = (
        "from tests.fuzz.test_decoders import digest_of_inputs; print(digest_of_inputs(), end='')"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == digest_of_inputs()


def digest_of_inputs() -> str:
    digest = sha256()
    for decoder in DECODERS.values():
        for seed in range(20):
            digest.update(input_of(decoder, seed))
    return digest.hexdigest()
