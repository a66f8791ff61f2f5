from __future__ import annotations

import pytest


@pytest.mark.parametrize("bad", ["", ".", "..", "../hosts", "a/b", "a b", "a?b", "a%2fb", "é"])
@pytest.mark.parametrize(
    "command",
    [
        ("rollout", "get", "{}"),
        ("rollout", "pause", "{}"),
        ("rollout", "excuse", "latest", "{}", "--reason", "x"),
        ("rollout", "why", "latest", "--host", "{}"),
        ("rollout", "history", "{}"),
        ("logs", "{}", "hello"),
        ("logs", "h01", "{}"),
        ("fleet", "versions", "{}"),
        ("release", "show", "{}", "1.0.0"),
        ("publish", "{}", "1.0.0", "tree"),
    ],
)
def test_what_cannot_stand_in_a_url_is_a_usage_error(p2pctl, command, bad) -> None:
    done = p2pctl(*(bad if word == "{}" else word for word in command), "-o", "json")
    assert (done.code, done.document()["error"]["code"]) == (2, "usage")


def test_names_are_checked_before_the_fleet_is_looked_for(p2pctl) -> None:
    assert "is no name" in p2pctl("rollout", "get", "..").err
    assert "no fleet named" in p2pctl("rollout", "get", "r-1.2_3").err
