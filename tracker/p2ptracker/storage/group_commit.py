"""Several small pieces of work in one transaction: waiting for the disk is what they cost.

Whoever comes while a transaction is being written waits, and is in the next one together with
all others who came meanwhile.  Each has a savepoint of its own: one that fails takes back what
it did, and nothing else.
"""

from __future__ import annotations

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


class GroupCommit(Generic[A, R]):
    """Runs *work* for each argument, in transactions that several share.

    Args:
        database: Where.
        work: Runs in a thread; may raise one of our errors, which undoes this one alone.
    """

    def __init__(self, database: Database, work: Callable[[sa.Connection, A], R]) -> None:
        self._database, self._work = database, work
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
            while mine.outcome is None:
                async with self._committing:
                    if mine.outcome is None:
                        await self._commit(self._waiting[:BATCH_MAX])
            return mine.outcome
        finally:  # who is cancelled before the work began wants nothing any more
            if mine in self._waiting:
                self._waiting.remove(mine)

    async def _commit(self, batch: Sequence[_Waiting[A, R]]) -> None:
        outcomes = await self._database.write(lambda connection: self._run(connection, batch))
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.outcome = outcome
        self._waiting = [waiting for waiting in self._waiting if waiting.outcome is None]

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
