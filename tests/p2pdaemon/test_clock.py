"""The clock is believed when the kernel or a fresh measurement vouches for it, and only then."""

from __future__ import annotations

import pytest

from p2pdaemon.clock import OFFSET_AGE_MAX_S, HostClock, kernel_error_s


class World:
    boot_s = 1000.0
    kernel: float | None = None
    asked = 0

    def ask_kernel(self) -> float | None:
        self.asked += 1
        return self.kernel

    def clock(self) -> HostClock:
        return HostClock(
            clock_error_s=1.0,
            kernel=self.ask_kernel,
            boot_s=lambda: self.boot_s,
            wall_s=lambda: 1.7e9 + self.boot_s,
        )


def test_an_unmeasured_clock_is_not_believed() -> None:
    now = World().clock().now()
    assert (now.boot_s, now.wall_s, now.synchronised) == (1000.0, 1.7e9 + 1000.0, False)


@pytest.mark.parametrize(
    ("offset_s", "error_s", "believed"),
    [(0.2, 0.1, True), (-0.2, 0.1, True), (0.9, 0.2, False), (0.0, 1.0, False), (3.0, 0.0, False)],
)
def test_a_measurement_counts_with_its_own_error(
    offset_s: float, error_s: float, believed: bool
) -> None:
    clock = World().clock()
    clock.learn_offset(offset_s, error_s)
    assert clock.now().synchronised is believed


def test_a_measurement_grows_old() -> None:
    world = World()
    clock = world.clock()
    clock.learn_offset(0.0, 0.01)
    world.boot_s += OFFSET_AGE_MAX_S
    assert clock.now().synchronised
    world.boot_s += 0.01
    assert not clock.now().synchronised


def test_a_bad_measurement_replaces_a_good_one() -> None:
    clock = World().clock()
    clock.learn_offset(0.0, 0.01)
    clock.learn_offset(5.0, 0.01)
    assert not clock.now().synchronised


def test_the_kernel_vouches_within_its_bound_and_is_not_asked_at_every_event() -> None:
    world = World()
    world.kernel = 0.4
    clock = world.clock()
    assert [clock.now().synchronised for _ in range(100)] == [True] * 100
    assert world.asked == 1
    world.boot_s += 6
    world.kernel = 1.5
    assert not clock.now().synchronised


def test_the_real_kernel_gives_a_bound_or_does_not_vouch() -> None:
    error_s = kernel_error_s()
    assert error_s is None or 0 <= error_s < 20
