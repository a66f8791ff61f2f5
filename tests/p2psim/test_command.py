"""The command line of the simulator."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner

from p2psim.__main__ import cli
from p2psim.report import Report


@pytest.mark.slow
def test_a_clean_range_exits_0_and_prints_a_report() -> None:
    arguments = ["activation", "--hosts", "4", "--fds", "2", "--seeds", "0..2", "--jobs", "1"]
    result = CliRunner().invoke(cli, [*arguments, "-o", "json"])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(result.output.encode(), type=Report)
    assert (report.seeds, report.hosts, report.violations) == (2, 4, [])


@pytest.mark.slow
def test_a_violation_exits_1_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_holds(*_: object) -> None: ...

    monkeypatch.setattr("p2pdeploy.activation.rules.evidence_hold", nothing_holds)
    result = CliRunner().invoke(cli, ["replay", "--hosts", "6", "--fds", "3", "--seed", "0"])
    assert result.exit_code == 1
    assert "I1 at" in result.stderr


@pytest.mark.parametrize("seeds", ["x", "5..5", "7..3", "1..y", ""])
def test_a_range_without_seeds_is_refused(seeds: str) -> None:
    result = CliRunner().invoke(cli, ["activation", "--seeds", seeds])
    assert result.exit_code == 2
    assert "seed" in result.output


@pytest.mark.parametrize("size", [["--hosts", "0"], ["--fds", "0"], ["--hosts", "2", "--fds", "3"]])
def test_an_impossible_cell_is_refused(size: list[str]) -> None:
    result = CliRunner().invoke(cli, ["replay", "--seed", "0", *size])
    assert result.exit_code == 2
