"""Backoff, its reset, and crash loops."""

from __future__ import annotations

from p2pdaemon.services.restart import CrashLoop, Exited, Restart, RestartPolicy


def play(exits):
    """Feed (now, runtime_s) pairs; return all effects."""
    policy = RestartPolicy()
    return [policy.handle(Exited(runtime_s), now) for now, runtime_s in exits]


def test_delays_double_up_to_half_a_minute():
    effects = play([(index * 1_000.0, 1.0) for index in range(9)])
    delays = [restart.delay_s for (restart,) in effects]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_run_that_lasted_starts_the_delays_over():
    effects = play([(0.0, 1.0), (1.0, 1.0), (62.0, 60.0), (63.0, 1.0)])
    assert [effect[-1] for effect in effects] == [
        Restart(0.5),
        Restart(1.0),
        Restart(0.5),
        Restart(1.0),
    ]


def test_a_run_that_nearly_lasted_does_not():
    assert play([(0.0, 1.0), (60.0, 59.9)])[-1] == [Restart(1.0)]


def test_five_exits_within_a_minute_are_a_crash_loop_and_restarts_go_on():
    effects = play([(15.0 * index, 0.0) for index in range(5)])
    assert [len(effect) for effect in effects] == [1, 1, 1, 1, 2]
    assert effects[-1] == [CrashLoop(exits=5, window_s=60.0), Restart(8.0)]


def test_five_exits_in_more_than_a_minute_are_none():
    effects = play([(15.1 * index, 0.0) for index in range(9)])
    assert all(len(effect) == 1 for effect in effects)


def test_crash_loop_is_told_again_while_it_goes_on_and_not_after():
    effects = play([(0.0, 0.0)] * 6 + [(100.0, 70.0)])
    assert [len(effect) for effect in effects] == [1, 1, 1, 1, 2, 2, 1]


def test_a_program_that_ends_at_once_is_a_crash_loop_within_eight_seconds():
    policy, now = RestartPolicy(), 0.0
    for _ in range(5):
        effects = policy.handle(Exited(0.0), now)
        if isinstance(effects[0], CrashLoop):
            break
        assert isinstance(effects[-1], Restart)
        now += effects[-1].delay_s
    assert now == 7.5
