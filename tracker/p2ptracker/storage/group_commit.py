"""Several small pieces of work in one transaction: waiting for the disk is what they cost.

Whoever comes while a transaction is being written waits, and is in the next one together with
all others who came meanwhile.  Each has a savepoint of its own: one that fails takes back what
it did, and nothing else.  A transaction that fails has failed for all who are in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import sqlalchemy as sa
import trio

from p2pdeploy.errors import P2PDeployError
from p2ptracker.storage.interfaces import Database

__all__ = ["GroupCommit"]

A = TypeVar("A")
R = TypeVar("R")

BATCH_MAX = 32  # each is 2 ms of work while everybody else's writes wait


class _Waiting(Generic[A, R]):
    def __init__(self, argument: A) -> None:
        self.argument = argument
        self.outcome: R | P2PDeployError | None = None
        self.failure: Exception | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome is not None or self.failure is not None


class GroupCommit(Generic[A, R]):
    """Runs *work* for each argument, in transactions that several share.

    Args:
        database: Where.
        work: Runs in a thread; may raise one of our errors, which undoes this one alone.
        then: What memory must know of a result.  Called as soon as that is stored, in trio's
            thread, whatever has become of who asked for it: it may have been cancelled.
    """

    def __init__(
        self,
        database: Database,
        work: Callable[[sa.Connection, A], R],
        then: Callable[[A, R], object] | None = None,
    ) -> None:
        self._database, self._work, self._then = database, work, then
        self._waiting: list[_Waiting[A, R]] = []
        self._committing = trio.Lock()

    async def do(self, argument: A) -> R | P2PDeployError:
        """Have the work done; durable on return.

        Returns:
            What the work returned, or the error that it raised.

        Raises:
            UnavailableError: the transaction failed; nothing of it happened.
        """
        mine = _Waiting[A, R](argument)
        self._waiting.append(mine)
        try:
            while not mine.is_over:
                async with self._committing:
                    if not mine.is_over:
                        await self._commit(self._waiting[:BATCH_MAX])
            if mine.failure is not None:
                raise copy.copy(mine.failure) from mine.failure  # several raise it
            assert mine.outcome is not None, "work returns something"
            return mine.outcome
        finally:  # who is cancelled before the work began wants nothing any more
            if mine in self._waiting:
                self._waiting.remove(mine)

    async def _commit(self, batch: Sequence[_Waiting[A, R]]) -> None:
        try:
            outcomes = await self._database.write(lambda connection: self._run(connection, batch))
        except Exception as error:  # for each in it; else they would wait for a lock one by one
            for waiting in batch:
                waiting.failure = error
        else:  # no checkpoint lies between what is stored and what is known of it
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.outcome = outcome
                if self._then is not None and not isinstance(outcome, P2PDeployError):
                    self._then(waiting.argument, outcome)
        self._waiting = [waiting for waiting in self._waiting if not waiting.is_over]

    def _run(
        self, connection: sa.Connection, batch: Sequence[_Waiting[A, R]]
    ) -> list[R | P2PDeployError]:
        return [self._one(connection, waiting.argument) for waiting in batch]

    def _one(self, connection: sa.Connection, argument: A) -> R | P2PDeployError:
        try:
            with connection.begin_nested():
                return self._work(connection, argument)
        except P2PDeployError as error:
            return error
