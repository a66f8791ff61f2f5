"""Names that pass are safe as one path component, one URL segment and one log field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pdeploy.errors import RefusedError
from p2pdeploy.ids import cell_id, check_digest, check_label, check_service, check_version
from p2pdeploy.manifest import digest_of

HOSTILE = ["", ".", "..", "-a", "a/b", "a\\b", "a\n", "a\0", "ä", " a", "a b", "../x", "a..b"]


@pytest.mark.parametrize("name", ["a", "web", "web-1", "web.api_v2", "0", "a" * 63])
def test_good_service_names_pass(name: str) -> None:
    assert check_service(name) == name


@pytest.mark.parametrize("name", [*HOSTILE, "Web", "a.", "a" * 64, "_a"])
def test_bad_service_names_are_refused(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_service(name)
    assert refused.value.code == "bad-service-name"
    assert refused.value.hint


@pytest.mark.parametrize("version", ["1", "1.2.3", "v1.0-rc1+build_7", "A" * 128])
def test_good_versions_pass(version: str) -> None:
    assert check_version(version) == version


@pytest.mark.parametrize("version", [*HOSTILE, "+1", "a" * 129])
def test_bad_versions_are_refused(version: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_version(version)
    assert refused.value.code == "bad-version"
    assert ("too long" in refused.value.message) == (len(version) > 128)


@given(st.text(max_size=10))
def test_whatever_passes_is_one_safe_path_component(text: str) -> None:
    for check in (check_service, check_version):
        try:
            name = check(text)
        except RefusedError:
            continue
        assert name.isascii()
        assert not set(name) & set("/\\\0\n\r \t%?#")
        assert name not in (".", "..")


@pytest.mark.parametrize("label", [*HOSTILE, "a.b", "a_b", "A", "a-", "a" * 64])
def test_a_cell_is_made_of_dns_labels(label: str) -> None:
    with pytest.raises(RefusedError, match="environment"):
        cell_id(label, "web")
    with pytest.raises(RefusedError, match="cluster"):
        cell_id("lab", "web", label)
    assert check_label("fd0", "fault domain") == "fd0"


def test_a_cell_id_joins_its_three_labels() -> None:
    assert cell_id("lab", "web") == "lab.web.c0"


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"])
def test_only_64_lower_case_hexadecimal_digits_are_a_digest(text: str) -> None:
    with pytest.raises(RefusedError):
        check_digest(text)


def test_a_digest_is_blake3_of_the_bytes() -> None:
    # The empty input's digest in https://github.com/BLAKE3-team/BLAKE3 test_vectors.json
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert check_digest(digest_of(b"")) == empty
