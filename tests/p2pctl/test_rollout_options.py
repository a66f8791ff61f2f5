from __future__ import annotations

import click
import pytest

from p2pctl.cmd_rollout import EXIT_OF_STATUS
from p2pctl.rollout_request import parse_max_unavailable
from p2pdeploy.messages.api import FINAL_STATES
from tests.trust_folder import add_trust


@pytest.mark.parametrize(("text", "value"), [(None, None), ("3", 3), ("25%", "25%")])
def test_max_unavailable_is_a_number_or_a_share(text, value) -> None:
    assert parse_max_unavailable(text) == value


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "x", "2.5", "%", ""])
def test_any_other_max_unavailable_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_max_unavailable(text)


def test_every_final_state_has_an_exit_code_and_only_complete_is_0() -> None:
    assert set(EXIT_OF_STATUS) == FINAL_STATES
    assert [state for state, code in EXIT_OF_STATUS.items() if code == 0] == ["complete"]


@pytest.mark.parametrize(
    "target",
    [
        (),
        ("--env", "lab"),
        ("--mf", "web"),
        ("--env", "lab", "--mf", "web", "--targets", "file"),
    ],
)
def test_a_target_must_be_named_in_exactly_one_way(p2pctl, fleet_file, target) -> None:
    done = p2pctl("rollout", "apply", "hello", "1", *target, "--dir", fleet_file, "-o", "json")
    assert done.code == 2
    assert "name the target" in done.document()["error"]["message"]


@pytest.mark.parametrize("command", ["plan", "status"])
def test_errors_of_plan_and_status_never_exit_2(p2pctl, command: str) -> None:
    assert p2pctl("rollout", command).code == 1  # usage
    assert p2pctl("rollout", command, "hello", "--timeout", "1s").code == 1
    done = p2pctl("rollout", "plan", "hello", "1", "--env", "lab", "--mf", "web")
    assert (done.code, "no fleet named" in done.err) == (1, True)


@pytest.fixture
def fleet_file(tmp_path):
    """A folder that looks like a fleet whose control plane is down."""
    add_trust(tmp_path)
    (tmp_path / "fleet.json").write_text(
        '{"api":"https://127.99.99.99:7400","announce":"","hosts":{}}'
    )
    return tmp_path


@pytest.mark.parametrize("share", ["nan", "inf", "-inf", "1", "-0.1", "x"])
def test_a_failure_fraction_that_is_no_share_is_a_usage_error(p2pctl, fleet_file, share) -> None:
    target = ("--env", "lab", "--mf", "web", "--dir", fleet_file, "-o", "json")
    done = p2pctl("rollout", "apply", "hello", "1", f"--failure-fraction={share}", *target)
    assert (done.code, done.error_code) == (2, "usage")
