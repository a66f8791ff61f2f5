"""What Linux tells: differences of counters, and what is missing is missing and named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pdaemon import pressure_signals
from p2pdaemon.pressure_signals import PressureSignals

PSI = (
    "some avg10=0.00 avg60=0.00 avg300=0.00 total={some}\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"
)


class Kernel:
    """A /proc of ours, and a clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = folder / "proc"
        (self.proc / "pressure").mkdir(parents=True)
        self.at, self.ours_s = 100.0, 0.0
        monkeypatch.setattr(pressure_signals.time, "monotonic", lambda: self.at)
        monkeypatch.setattr(pressure_signals.time, "process_time", lambda: self.ours_s)
        self.signals = PressureSignals(folder, self.proc)
        device = os.stat(folder).st_dev
        self._device = f"{os.major(device)} {os.minor(device)}"

    def stall(self, some_us: int, full_us: int) -> None:
        for name in ("cpu", "io", "memory"):
            (self.proc / "pressure" / name).write_text(PSI.format(some=some_us, full=full_us))

    def use(self, busy_ticks: int, idle_ticks: int) -> None:
        (self.proc / "stat").write_text(f"cpu  {busy_ticks} 0 0 {idle_ticks} 0 0 0 0 0 0\ncpu0 1\n")

    def write(self, count: int, took_ms: int) -> None:
        row = f" {self._device} disk 9 0 0 0 {count} 0 0 {took_ms} 0 0 0\n"
        (self.proc / "diskstats").write_text(" 7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n" + row)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


def test_a_sample_is_what_happened_between_two_looks(kernel: Kernel):
    kernel.stall(1_000_000, 500_000)
    kernel.use(1_000, 1_000)
    kernel.write(10, 100)
    assert kernel.signals.sample() is None
    kernel.at, kernel.ours_s = 102.0, 0.5
    kernel.stall(2_000_000, 600_000)
    kernel.use(1_150, 1_050)
    kernel.write(30, 1_100)
    sample = kernel.signals.sample()
    assert sample is not None
    assert (sample.io_some, sample.io_full) == (0.5, 0.05)
    assert (sample.cpu_some, sample.memory_full) == (0.5, 0.05)
    assert sample.cpu_busy == pytest.approx(0.75)
    assert sample.cpu_others == pytest.approx((1.5 - 0.5) / 2)
    assert sample.write_latency_s == pytest.approx(0.05)
    assert kernel.signals.missing == ()


def test_a_disk_that_wrote_nothing_is_not_slow(kernel: Kernel):
    kernel.write(10, 100)
    kernel.signals.sample()
    kernel.at += 1
    sample = kernel.signals.sample()
    assert sample is not None
    assert sample.write_latency_s == 0


def test_a_kernel_that_tells_nothing_gives_an_empty_sample_and_says_so(kernel: Kernel):
    kernel.signals.sample()
    kernel.at += 1
    sample = kernel.signals.sample()
    assert sample is not None
    assert sample.io_some is sample.cpu_busy is sample.write_latency_s is None
    assert kernel.signals.missing == ("psi", "cpu", "disk")


def test_after_forgetting_the_next_look_is_a_first_one(kernel: Kernel):
    kernel.stall(0, 0)
    kernel.signals.sample()
    kernel.signals.forget()
    kernel.at += 1
    assert kernel.signals.sample() is None


def test_this_machines_own_proc_is_understood(tmp_path: Path):
    signals = PressureSignals(tmp_path)
    signals.sample()
    assert "cpu" not in signals.missing
