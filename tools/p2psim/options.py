"""One world's size, script and faults, all drawn from its seed."""

from __future__ import annotations

from random import Random

import msgspec

__all__ = ["Options", "draw_options", "rng_for"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds of simulated time, probabilities in [0, 1]."""

    seed: int
    hosts: int
    fault_domains: int
    loss: float
    duplicate: float
    delay_max_s: float
    faults_until_s: float
    heal_s: float
    services: int  # 1 or 2 on the same cell
    crashes: int
    reboots: int
    pauses: int
    partitions: int
    regressions: int  # services that die after they were healthy
    control_crashes: int
    write_crashes: float  # share of record writes at which the daemon dies, before or after
    fsync_max_s: float
    clock_offset_max_s: float
    unsynchronised_hosts: int
    second_build: str  # how the second build behaves: good, exits, never-healthy, dies-in-bake
    slow_start: bool  # every start takes most of its timeout
    activation_failures: float  # share of activations of a good build that fail on one host
    settle_s: float
    operator_abort: bool
    abort_under_partition: bool
    operator_pause: bool
    late_host: bool
    failure_fraction_max: float
    max_unavailable: int | None


def rng_for(seed: int, *purpose: str) -> Random:
    """A generator of its own for each purpose, so that one more draw here moves nothing there."""
    return Random("/".join((str(seed), *purpose)))


def draw_options(seed: int, *, hosts: int, fault_domains: int) -> Options:
    """The world that *seed* stands for."""
    rng = rng_for(seed, "options")
    calm = rng.random() < 0.15  # a share of worlds without faults: the happy path must stay fast
    return Options(
        seed=seed,
        hosts=hosts,
        fault_domains=fault_domains,
        loss=0.0 if calm else rng.choice([0.0, 0.05, 0.1, 0.3]),
        duplicate=0.0 if calm else rng.choice([0.0, 0.05]),
        delay_max_s=rng.choice([0.005, 0.05, 0.5]),
        faults_until_s=150.0,
        heal_s=3_000.0,  # a world that is at rest ends sooner; one host at a time takes long
        services=rng.choice([1, 1, 2]),
        crashes=0 if calm else rng.randrange(4),
        reboots=0 if calm else rng.randrange(2),
        pauses=0 if calm else rng.randrange(3),
        partitions=0 if calm else rng.randrange(3),
        regressions=0 if calm else rng.randrange(3),
        control_crashes=0 if calm else rng.randrange(2),
        write_crashes=0.0 if calm else rng.choice([0.0, 0.0, 0.02]),
        fsync_max_s=0.003 if calm else rng.choice([0.003, 1.0, 3.0]),
        clock_offset_max_s=0.0 if calm else 0.45,
        unsynchronised_hosts=0 if calm else rng.choice([0, 0, 1]),
        second_build=rng.choice(["good", "good", "exits", "never-healthy", "dies-in-bake"]),
        slow_start=not calm and rng.random() < 0.2,
        activation_failures=0.0 if calm else rng.choice([0.0, 0.0, 0.03]),
        settle_s=rng.choice([0.5, 2.0, 5.0]),
        operator_abort=rng.random() < 0.3,
        abort_under_partition=not calm and rng.random() < 0.5,
        operator_pause=rng.random() < 0.2,
        late_host=not calm and rng.random() < 0.3,
        failure_fraction_max=rng.choice([0.1, 0.1, 0.34]),
        max_unavailable=rng.choice([None, None, 1, 2, 3]),
    )
