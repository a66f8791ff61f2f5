"""A host reads no more than it must: endless documents, roots and bundles, parser bombs."""

from __future__ import annotations

import pytest

from p2pdeploy.errors import TrustError
from p2pdeploy.trust.releases.bundle import ReleaseBundle
from p2pdeploy.trust.releases.limits import (
    BUNDLE_BYTES_MAX,
    ROOT_BYTES_MAX,
    ROOTS_PER_BUNDLE_MAX,
    SERVICE_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
    TARGETS_BYTES_MAX,
    TIMESTAMP_BYTES_MAX,
)
from p2pdeploy.trust.releases.refusals import Attack
from tests.p2pdeploy.trust.release_fleet import (
    Fleet,
    Host,
    with_parts,
)


@pytest.mark.parametrize(
    ("part", "bytes_max"),
    [
        ("timestamp", TIMESTAMP_BYTES_MAX),
        ("snapshot", SNAPSHOT_BYTES_MAX),
        ("targets", TARGETS_BYTES_MAX),
        ("service", SERVICE_BYTES_MAX),
    ],
)
def test_endless_data_in_one_document(fleet: Fleet, part: str, bytes_max: int):
    """Spaces after a JSON value are legal, so these would be read to their end."""
    document: bytes = getattr(ReleaseBundle.from_bytes(fleet.bundle()), part)
    endless = with_parts(fleet.bundle(), **{part: document.ljust(bytes_max + 1)})

    with pytest.raises(TrustError, match="are read") as caught:
        Host(fleet).verify(endless, "1.0")
    assert caught.value.code == Attack.ENDLESS_DATA.value


def test_endless_data_below_the_limit_ends_where_the_snapshot_says(fleet: Fleet):
    longer = fleet.repository.services["web"] + b" "

    Host(fleet).assert_refuses(
        Attack.ENDLESS_DATA, with_parts(fleet.bundle(), service=longer), "1.0", where="svc/web"
    )


def test_endless_roots(fleet: Fleet):
    host, root = Host(fleet), fleet.first_root

    many = with_parts(fleet.bundle(), roots=[root] * (ROOTS_PER_BUNDLE_MAX + 1))
    host.assert_refuses(Attack.ENDLESS_DATA, many, "1.0", where="root")
    large = with_parts(fleet.bundle(), roots=[root.ljust(ROOT_BYTES_MAX + 1)])
    host.assert_refuses(Attack.ENDLESS_DATA, large, "1.0", where="root")


def test_endless_bundle(fleet: Fleet):
    endless = fleet.bundle().ljust(BUNDLE_BYTES_MAX + 1)

    Host(fleet).assert_refuses(Attack.ENDLESS_DATA, endless, "1.0", where="bundle")


@pytest.mark.parametrize(
    "bomb", [b"[" * 8_000, b'{"a":' * 1_500, b"9" * 8_000, b'"' + b"\\u0000" * 9]
)
def test_parser_bomb_in_place_of_a_document(fleet: Fleet, bomb: bytes):
    bundle = with_parts(fleet.bundle(), timestamp=bomb)

    Host(fleet).assert_refuses(Attack.MALFORMED, bundle, "1.0", where="timestamp")
