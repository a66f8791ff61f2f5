from __future__ import annotations

import pytest

from p2pctl.render.listings import show_bytes
from p2pctl.render.plan import show_batches


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1536, "1.5 KiB"),
        (256 * 1024**2, "256 MiB"),
        (5_242_880, "5 MiB"),
        (1024**3 * 2, "2 GiB"),
    ],
)
def test_sizes_have_three_digits_and_binary_units(count: int, text: str) -> None:
    assert show_bytes(count) == text


@pytest.mark.parametrize(
    ("batches", "text"), [([4], "4"), ([1, 5, 5], "1 + 2x5"), ([1, 1], "2x1"), ([], "")]
)
def test_batches_of_one_size_are_told_together(batches: list[int], text: str) -> None:
    assert show_batches(batches) == text
