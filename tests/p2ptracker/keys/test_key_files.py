"""A kill or a failing disk between any two writes loses no key of releases that is in force."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.keys import RotationRequest
from p2pdeploy.trust.releases.proposals import Proposal, sign
from p2pdeploy.trust.releases.reading import top_keys_of
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.authority import next_keys
from p2ptracker.authority.folder import OFFLINE_ROLES
from p2ptracker.control_plane import ControlPlane
from p2ptracker.keys import release_roles
from p2ptracker.releases.keeper import RepositoryKeeper
from tests.p2ptracker.lives import READ_ONLY, Killed, a_life, before_and_after, failing

RELEASE_ROLES = ("root", "targets", "snapshot", "timestamp")
ASKED = RotationRequest()


def named(plane: ControlPlane, role: str) -> tuple[bytes, ...]:
    return getattr(top_keys_of(plane.repository.repository.root), role).public_keys


def require_signing(plane: ControlPlane, role: str) -> None:
    """The key that signs in *role* is the one that the root names, and its file has it."""
    keys = plane.repository.keys
    own = keys.read(role) if role in OFFLINE_ROLES else getattr(keys.online, role)
    assert own is not None
    assert own.public_key in named(plane, role)


WRITES_OF_RELEASE_KEYS = before_and_after(
    (release_roles, "make_next_key"),
    (RepositoryKeeper, "change"),
    (Path, "replace"),
    (next_keys, "_sync"),
)


@pytest.mark.parametrize("role", RELEASE_ROLES)
@pytest.mark.parametrize(("owner", "name", "after"), WRITES_OF_RELEASE_KEYS)
async def test_a_kill_between_two_writes_loses_no_key_of_releases(
    folder: Path, role: str, owner: object, name: str, after: bool
) -> None:
    async with a_life(folder) as plane:
        with failing(Killed(), owner, name, after=after), pytest.raises(Killed):
            await plane.release_roles.rotate(role, ASKED)
    for _ in range(2):
        async with a_life(folder) as plane:
            require_signing(plane, role)
            before = named(plane, role)
            assert (await plane.release_roles.rotate(role, ASKED)).state == "done"
            assert named(plane, role) != before
            require_signing(plane, role)


@pytest.mark.parametrize("role", RELEASE_ROLES)
async def test_while_a_disk_refuses_the_rename_no_other_key_is_made(
    folder: Path, role: str
) -> None:
    async with a_life(folder) as plane:
        with failing(READ_ONLY, Path, "replace"):
            assert await refusal(plane, role) == "key-not-in-place"
            coming = plane.trust.paths.next_key(role).read_bytes()
            for _ in range(2):
                assert await refusal(plane, role) == "key-not-in-place"
            assert plane.trust.paths.next_key(role).read_bytes() == coming
        assert (await plane.release_roles.rotate(role, ASKED)).state == "done"
        require_signing(plane, role)
    async with a_life(folder) as plane:
        require_signing(plane, role)


@pytest.mark.parametrize("role", RELEASE_ROLES)
async def test_what_was_renamed_and_perhaps_not_written_yet_signs(folder: Path, role: str) -> None:
    async with a_life(folder) as plane:
        with failing(READ_ONLY, next_keys, "_sync"):
            assert await refusal(plane, role) == "key-not-in-place"
        await plane.repository.refresh_if_due()
        require_signing(plane, role)


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
async def test_what_signs_by_itself_goes_on_once_the_disk_does(folder: Path, role: str) -> None:
    async with a_life(folder) as plane:
        with failing(READ_ONLY, Path, "replace"):
            assert await refusal(plane, role) == "key-not-in-place"
            with pytest.raises(UnavailableError):
                await plane.repository.refresh_if_due()
        await plane.repository.refresh_if_due()
        require_signing(plane, role)


async def refusal(plane: ControlPlane, role: str) -> str:
    with pytest.raises(UnavailableError) as raised:
        await plane.release_roles.rotate(role, ASKED)
    return raised.value.code


@pytest.mark.parametrize("role", OFFLINE_ROLES)
@pytest.mark.parametrize("name", ["write_private", "drop_key"])
async def test_a_key_that_a_kill_left_here_signs_nothing_once_others_have_the_role(
    folder: Path, role: str, name: str
) -> None:
    person = SigningKey.generate(role=role)
    request = RotationRequest(public_keys=(person.public_key,))
    async with a_life(folder) as plane:
        root = plane.repository.keys.read("root")
        assert root is not None
        done = await signed_by(plane, role, request, root, person)
        with failing(Killed(), release_roles, name), pytest.raises(Killed):
            await plane.release_roles.rotate(role, done)
    async with a_life(folder) as plane:
        assert plane.trust.paths.key(role).exists(), "the one of before"
        assert plane.repository.keys.read(role) is None
        assert plane.repository.keys.has_targets == (role != "targets")
        assert (await plane.release_roles.renew(role, ())).state == "unsigned"


async def test_a_key_that_lies_here_and_still_counts_is_not_dropped(folder: Path) -> None:
    """Beside another person's: the only copy may be this one."""
    person = SigningKey.generate(role="targets")
    async with a_life(folder) as plane:
        keys = plane.repository.keys
        root, own = keys.read("root"), keys.read("targets")
        assert root is not None
        assert own is not None
        request = RotationRequest(public_keys=(own.public_key, person.public_key))
        done = await signed_by(plane, "targets", request, root, own)
        assert (await plane.release_roles.rotate("targets", done)).state == "done"
        require_signing(plane, "targets")


async def signed_by(
    plane: ControlPlane, role: str, request: RotationRequest, root: SigningKey, coming: SigningKey
) -> RotationRequest:
    """*request* with what it takes, signed by the owners of the two keys."""
    asked = await plane.release_roles.rotate(role, request)
    signed: list[bytes] = []
    for each in map(Proposal.from_bytes, asked.proposals):
        signatures = dict(sign(each, key) for key in (root, coming))
        signed.append(msgspec.structs.replace(each, signatures=signatures).to_bytes())
    return msgspec.structs.replace(request, signed=tuple(signed))
