"""Which addresses libtorrent's filter lets through."""

from __future__ import annotations

import pytest

from p2pdeploy.swarm.admission import Admission


def is_open(admission: Admission, address: str) -> bool:
    return admission.to_filter().access(address) == 0


def test_nobody_is_admitted_before_the_members_are_known() -> None:
    assert not is_open(Admission(), "127.0.0.1")


def test_members_and_nobody_else() -> None:
    admission = Admission()
    admission.admit({"127.0.0.2", "127.0.0.4"})
    assert [is_open(admission, f"127.0.0.{n}") for n in range(1, 6)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert not is_open(admission, "::1")


def test_who_is_no_longer_named_is_out() -> None:
    admission = Admission()
    assert admission.admit({"127.0.0.2", "127.0.0.3"})
    assert admission.admit({"127.0.0.3"})
    assert not is_open(admission, "127.0.0.2")
    assert not admission.admit({"127.0.0.3"})


def test_a_banned_member_stays_out_whatever_the_list_says() -> None:
    admission = Admission()
    admission.ban("127.0.0.2")
    admission.admit({"127.0.0.2", "127.0.0.3"})
    assert not is_open(admission, "127.0.0.2")
    assert is_open(admission, "127.0.0.3")


@pytest.mark.parametrize("word", ["", "host", "127.0.0.1/8", "127.1", "::1", "127.0.0.01"])
def test_a_bad_word_in_the_list_opens_nothing_and_harms_nobody_else(word: str) -> None:
    admission = Admission()
    admission.admit({word, "127.0.0.2"})
    assert is_open(admission, "127.0.0.2")
    assert not is_open(admission, "127.0.0.1")
    assert not is_open(admission, "::1")
