"""Makes the steps of rotations: each stored before it shows, so a kill at any moment loses none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
import structlog
import trio

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import NotFoundError, P2PDeployError, RefusedError
from p2pdeploy.ids import RolloutId
from p2pdeploy.messages.keys import RotationAnswer, RotationRequest
from p2pdeploy.trust.keyring import ORDER_ROLES
from p2pdeploy.trust.releases.proposals import Proposal
from p2pdeploy.trust.role_keys import RoleKeys
from p2ptracker.authority.folder import TrustFolder
from p2ptracker.authority.next_keys import drop_key, make_next_key, next_key
from p2ptracker.cells.replicas import Cells
from p2ptracker.keys import answers
from p2ptracker.keys.own_keys import OwnKeys
from p2ptracker.keys.publishing import OrderKeyPublisher
from p2ptracker.keys.rotation import (
    Rotation,
    Waits,
    announced_keys,
    begin_rotation,
    due_at,
    finished_keys,
    seal_from,
)
from p2ptracker.keys.standing_orders import StandingOrders
from p2ptracker.releases.keeper import RepositoryKeeper
from p2ptracker.storage.interfaces import Database
from p2ptracker.storage.key_rotations import forget_rotation, save_rotation, stored_rotations
from p2ptracker.threads import Threads

__all__ = ["KeyRotator"]

LOOK_EVERY_S = 5.0  # of steps that are three minutes apart
_ROLE_CHARS_SHOWN = 20
_ROTATION_BYTES_MAX = 4 * 1024  # sixteen keys and some words

log = structlog.get_logger(__name__)


class KeyRotator:
    """Rotates the keys of orders.  ``open`` it once the repository is.

    Args:
        trust: Holds the private keys; gets the new ones.
        keeper: Publishes who signs.
        database: Keeps what is under way, and the orders that stand.
        cells: Hold these orders.
        tell_anew: Seals revocations with the new ``enrol`` key and tells the cells.
        clock: Seconds since the epoch.
        waits: How long steps take.
    """

    def __init__(
        self,
        trust: TrustFolder,
        keeper: RepositoryKeeper,
        database: Database,
        cells: Cells,
        tell_anew: Callable[[], None],
        clock: Callable[[], float],
        waits: Waits,
    ) -> None:
        self._trust, self._database = trust, database
        self._publisher = OrderKeyPublisher(keeper)
        self._standing = StandingOrders(trust.fleet, database, cells)
        self._tell_anew = tell_anew
        self._clock, self.waits = clock, waits
        self._rotations: dict[str, Rotation] = {}
        self._waits_for: dict[str, str] = {}  # said once in the log
        self._lock = trio.Lock()
        self._files = Threads(1)
        self._own = OwnKeys(trust)

    def __repr__(self) -> str:
        return f"<KeyRotator: {len(self._rotations)} under way>"

    def under_way(self, role: str) -> Rotation | None:
        """The rotation of *role*, if there is one."""
        return self._rotations.get(role)

    async def unsigned_rollouts(self, role: str) -> tuple[RolloutId, ...]:
        """What stands and needs signatures of the people who take over in *role*, by id."""
        rotation = self._rotations.get(role)
        if rotation is None or rotation.is_ours or role != "rollout":
            return ()  # what the control plane signs itself it seals anew itself
        return await self._standing.lacking(finished_keys(self._publisher.order_keys(), rotation))

    async def open(self) -> None:
        """Go on where the last process stopped.

        Raises:
            ConfigError: a key that signs is none that hosts know; nothing may be sealed with it.
        """
        stored = await self._database.read(stored_rotations)
        for role, document in stored.items():
            rotation = decode(document, Rotation, bytes_max=_ROTATION_BYTES_MAX)
            self._rotations[role] = rotation
            if rotation.step == "sealing":
                await self._take_over(rotation)
        self._publisher.require_known(self._trust)

    # -- what is asked -----------------------------------------------------------------------

    async def rotate(self, role: str, request: RotationRequest) -> RotationAnswer:
        """Begin a rotation of *role*, or finish it.

        Returns:
            Where it stands; in state ``unsigned`` nothing has changed, and the owner of the
            targets key must sign what comes with it.

        Raises:
            RefusedError: one is under way, none is, or it is too early to finish it.
            TrustError: what was signed is something else, or by other keys.
            UnavailableError: it could not be stored, and nothing changed; or it was, and the new
                key's file is put in place later (``key-not-in-place``).
        """
        if role not in ORDER_ROLES:
            raise NotFoundError(f"there is no key of orders {role[:_ROLE_CHARS_SHOWN]!r}")
        if request.abandon_standing and not request.finish:
            raise RefusedError("only the end of a rotation abandons what stands", code="no-finish")
        async with self._lock:
            return await (self._finish if request.finish else self._begin)(role, request)

    async def _begin(self, role: str, request: RotationRequest) -> RotationAnswer:
        if role in self._rotations:
            raise RefusedError(
                f"the {role} key is being rotated already",
                hint="'p2pctl keys status' shows when that can be finished",
                code="rotation-under-way",
            )
        keys = await self._who_takes_over(role, request)
        is_ours = not request.public_keys
        rotation = begin_rotation(
            role, keys, current=self._publisher.order_keys(), is_ours=is_ours, now=self._clock()
        )
        said = announced_keys(self._publisher.order_keys(), rotation)
        save = partial(save_rotation, role=role, document=encode(rotation))
        proposals = await self._publisher.publish(said, request.signed, also=save)
        if proposals:
            return self._unsigned(rotation, proposals)
        self._rotations[role] = rotation
        if rotation.step == "sealing":
            await self._take_over(rotation)
        log.info("key-rotation-begun", role=role, keys=keys.key_ids(role))
        return await self._answer(rotation)

    async def _who_takes_over(self, role: str, request: RotationRequest) -> RoleKeys:
        if not request.public_keys:
            if request.threshold != 1:
                raise RefusedError("a threshold needs --public keys", code="no-public-keys")
            make = make_next_key if not request.signed else next_key
            key = await self._files.run(make, self._trust.paths, role)
            return RoleKeys(threshold=1, public_keys=(key.public_key,))
        if role != "rollout":
            raise RefusedError(
                f"the control plane signs with the {role} key all the time",
                hint="only ROLLOUTs can be left to people",
                code="not-for-people",
            )
        return RoleKeys(threshold=request.threshold, public_keys=request.public_keys)

    async def _finish(self, role: str, request: RotationRequest) -> RotationAnswer:
        rotation = self._rotations.get(role)
        if rotation is None:
            raise RefusedError(f"no rotation of the {role} key is under way", code="no-rotation")
        if rotation.step != "sealing" or self._clock() < due_at(rotation, self.waits):
            raise answers.too_early(rotation, self.waits)
        await self._ensure_taken_over(rotation)
        # Whatever was under way when the new key took over.
        await self._standing.seal_anew(
            role, self._trust.keys.get(role) if rotation.is_ours else None
        )
        said = finished_keys(self._publisher.order_keys(), rotation)
        leaving = await self._standing.leaving(
            said, self._trust.keys["abort"], abandon_standing=request.abandon_standing
        )

        def also(connection: sa.Connection) -> None:
            forget_rotation(connection, role)
            leaving.store(connection)

        proposals = await self._publisher.publish(said, request.signed, also=also)
        if proposals:
            return self._unsigned(rotation, proposals)
        del self._rotations[role]
        await self._standing.forget_refused(role, leaving.kept)
        if not rotation.is_ours and role not in self._trust.keys:
            await self._files.run(drop_key, self._trust.paths, role)
        log.info("key-rotation-done", role=role, forgotten=len(leaving.gone))
        key_ids = rotation.keys.key_ids(role)
        return RotationAnswer(role=role, state="done", key_ids=key_ids)

    # -- what happens by itself --------------------------------------------------------------

    async def rotate_keys(self) -> None:
        """Task: make each step when it is time, as far as no key that lies offline is needed."""
        while True:
            for role in list(self._rotations):
                try:
                    await self._step(role)
                except RefusedError as error:  # a rollout is under way: when it has ended, then
                    if self._waits_for.get(role) != str(error):
                        self._waits_for[role] = str(error)
                        log.info("key-rotation-waits", role=role, reason=str(error))
                except P2PDeployError as error:
                    log.error("key-not-rotated", role=role, code=error.code, reason=str(error))
                except OSError as error:
                    log.error("key-not-written", role=role, reason=str(error))
            await trio.sleep(LOOK_EVERY_S)

    async def _step(self, role: str) -> None:
        async with self._lock:
            rotation = self._rotations.get(role)
            if rotation is None:
                return
            if rotation.step == "sealing":
                await self._ensure_taken_over(rotation)
            if self._clock() < due_at(rotation, self.waits):
                return
            if rotation.step == "announced":
                await self._seal_from_now(rotation)
            elif self._publisher.is_alone_enough:
                await self._finish(role, RotationRequest(finish=True))

    async def _seal_from_now(self, rotation: Rotation) -> None:
        """Step 2: everything that stands is stored under the new key, then the key signs."""
        sealing = seal_from(rotation, self._clock())
        key = await self._own.coming(rotation)
        await self._standing.seal_anew(rotation.role, key, also=sealing)
        self._rotations[rotation.role] = sealing
        await self._take_over(sealing)
        log.info("key-in-use", role=rotation.role)

    async def _take_over(self, rotation: Rotation) -> None:
        """Sign with the new key from now on, or not at all if it is of people.  Twice is once."""
        await self._own.take_over(rotation)
        if rotation.role == "enrol":
            self._tell_anew()

    async def _ensure_taken_over(self, rotation: Rotation) -> None:
        """Take over if that was stored and not done: else the end would forget what stands."""
        if not self._own.have_taken_over(rotation):
            await self._take_over(rotation)

    # -- what hosts are told -----------------------------------------------------------------

    def _unsigned(self, rotation: Rotation, proposals: tuple[Proposal, ...]) -> RotationAnswer:
        key_ids = rotation.keys.key_ids(rotation.role)
        return answers.unsigned(rotation.role, key_ids, proposals, self._publisher.bundle())

    async def _answer(self, rotation: Rotation) -> RotationAnswer:
        return answers.under_way(
            rotation,
            self.waits,
            await self.unsigned_rollouts(rotation.role),
            by_itself=self._publisher.is_alone_enough,
        )
