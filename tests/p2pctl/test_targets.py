from __future__ import annotations

from pathlib import Path

import pytest

from p2pctl.targets import parse_targets, read_targets
from p2pdeploy.errors import ConfigError


def test_names_come_in_file_order_without_comments_and_blanks() -> None:
    text = b"# canaries\nh02\n\n  h01  # the old one\r\n#h03\n"
    assert parse_targets(text, "t") == ("h02", "h01")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (b"h01\nh02 h03\n", "t:2", "not a valid machine name"),
        (b"h01\n\nH02\n", "t:3", "not a valid machine name"),
        (b"h01\nh02\nh01\n", "t:3", "line 1 already"),
        (b"h01\nh\xff\n", "t:2", "not UTF-8"),
        (b"# nobody\n", "t", "no machine named"),
    ],
)
def test_a_fault_names_file_and_line(text: bytes, where: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        parse_targets(text, "t")
    assert caught.value.where == where


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_targets(tmp_path / "none")
