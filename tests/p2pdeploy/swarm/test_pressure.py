"""Pressure: the worst signal decides; what we alone cause and what is unknown do not count."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.swarm.pressure import PressureSample, pressure_of

SIGNALS = PressureSample.__struct_fields__
AT_EASE = PressureSample(
    cpu_some=0.1, io_some=0.1, io_full=0.0, cpu_busy=0.4, cpu_others=0.3, write_latency_s=0.002
)
shares = st.none() | st.floats(0, 1)
samples = st.builds(PressureSample, **dict.fromkeys(SIGNALS, shares))


def test_a_host_at_ease_has_no_pressure():
    assert pressure_of(AT_EASE) == 0


def test_nothing_known_is_no_pressure():
    assert pressure_of(PressureSample()) == 0


@pytest.mark.parametrize(
    "worse",
    [
        {"cpu_some": 0.9, "cpu_busy": 1.0, "cpu_others": 1.0},
        {"cpu_others": 0.97},
        {"io_some": 0.9},
        {"io_full": 0.6},
        {"memory_some": 0.3},
        {"memory_full": 0.2},
        {"write_latency_s": 0.5},
    ],
)
def test_each_signal_alone_is_enough(worse: dict[str, float]):
    assert pressure_of(msgspec.structs.replace(AT_EASE, **worse)) >= 1


def test_waiting_for_processors_that_we_alone_use_is_no_pressure():
    ours = msgspec.structs.replace(AT_EASE, cpu_some=0.9, cpu_busy=1.0, cpu_others=0.1)
    assert pressure_of(ours) == 0


def test_waiting_for_processors_counts_whole_when_nobody_knows_who_uses_them():
    assert pressure_of(PressureSample(cpu_some=0.9)) >= 1


@given(samples, st.sampled_from([name for name in SIGNALS if name != "cpu_busy"]), shares)
def test_pressure_never_falls_when_a_signal_rises(
    sample: PressureSample, name: str, other: float | None
):
    before = getattr(sample, name)
    if name == "cpu_others" and (sample.cpu_busy is None or before is None or other is None):
        return  # how much of the waiting is ours became known: that may lower it
    if before is not None and (other is None or other < before):
        return
    assert pressure_of(msgspec.structs.replace(sample, **{name: other})) >= pressure_of(sample)
