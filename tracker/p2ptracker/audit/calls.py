"""Every HTTP call that goes on record, from its start to its answer.

=========================================  =====================================================
call                                       entries
=========================================  =====================================================
of a person, may change something          ``begun`` before it acts, ``done`` before the answer
the same, refused beyond a number an hour  none; one ``begun`` for each route, until one succeeds
that joins (permission enrol)              ``done`` when it succeeded: strangers cannot fill a disk
401 or 403 to somebody with a name         ``refused``, up to that number
401 to nobody known                        none; metrics count them
a host's, or one that only reads           none
=========================================  =====================================================

When ``begun`` cannot be stored the call is refused; when ``done`` cannot, the caller is told so
instead of the answer.  Nothing is done without a trace.  Who is refused again and again fills no
disk: of such a caller ``begun`` names the route only, and holds for the next call when nothing was
done under it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from blake3 import blake3

from p2pdeploy.errors import UnavailableError
from p2pdeploy.messages.access import Permission
from p2pdeploy.messages.audit import NOTHING_BEFORE, AuditEntry
from p2pdeploy.trust.identity import spiffe_id
from p2pdeploy.trust.tls import Peer
from p2ptracker.api.failures import error_body, error_bytes
from p2ptracker.api.unread_body import Application, Receive, Scope, Send
from p2ptracker.audit.log import AuditLog
from p2ptracker.audit.refusals import Route

__all__ = ["AuditedCall", "audited", "note_subject"]

_READING = ("GET", "HEAD", "OPTIONS")
_NOT_OF_PEOPLE: frozenset[Permission] = frozenset({"open", "renew", "host", "member"})
_PARAMETERS_BYTES_MAX = 1_024  # a rollout for a cell, a revocation; longer ones have their digest
_TEXT_CHARS_MAX = 512  # of a path or a query
_CRASHED = 500  # nobody knows what was changed before that

log = structlog.get_logger(__name__)


def audited(application: Application, audit: AuditLog) -> Application:
    """Wrap *application*, an ASGI one, so that its calls go on record.

    What is inside finds the call as ``scope["state"]["audit"]`` and calls
    :meth:`AuditedCall.begin` once it knows the permission; who calls stands in
    ``scope["state"]["peer"]``, an error's code in ``scope["state"]["code"]``.
    """

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        call = AuditedCall(audit, scope)
        scope.setdefault("state", {})["audit"] = call
        is_replaced = False

        async def hear() -> dict[str, Any]:
            message = await receive()
            call.hear(message.get("body", b""))
            return message

        async def answer(message: dict[str, Any]) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start":
                try:
                    await call.end(message["status"])
                except UnavailableError as error:
                    is_replaced = True
                    await _answer_instead(send, error)
            if not is_replaced:
                await send(message)

        await application(scope, hear, answer)

    return record


def note_subject(scope: Any, who: str) -> None:
    """Say whom a call without a certificate turned out to be about, as the host that joined."""
    call: AuditedCall = scope["state"]["audit"]
    call.subject = who


class AuditedCall:
    """One call, and what is on record of it."""

    def __init__(self, audit: AuditLog, scope: Scope) -> None:
        self.subject = ""
        self._audit = audit
        self._scope = scope
        self._permission: Permission = "open"
        self._begun = 0
        self._shared: Route | None = None  # whose entry ``begun`` others may use
        self._hash = blake3()
        self._body_bytes = 0
        self._start = b""

    async def begin(self, permission: Permission, route: str) -> None:
        """The caller may do this and is about to; *route* is the path as it was declared.

        Raises:
            UnavailableError: it cannot be recorded, so it must not be done.
        """
        self._permission = permission
        is_silent = permission in _NOT_OF_PEOPLE or permission == "enrol"
        if self._scope["method"] in _READING or is_silent:
            return
        entry = self._entry("begun")
        if not self._audit.is_spent(entry.who):
            self._begun = (await self._audit.append(entry)).seq
            return
        self._shared = (entry.who, entry.serial, entry.method, route)
        entry = msgspec.structs.replace(entry, path=route, query="")
        self._begun = await self._audit.begin_again(entry, self._shared)

    def hear(self, body: bytes) -> None:
        """Take in a part of the request's body."""
        self._hash.update(body)
        self._body_bytes += len(body)
        room = _PARAMETERS_BYTES_MAX - len(self._start)
        self._start += body[: max(room, 0)]

    async def end(self, status: int) -> None:
        """The answer is about to leave.

        Raises:
            UnavailableError: what was done could not be recorded.
        """
        if self._begun:
            await self._end_begun(status)
        elif self._permission == "enrol" and status < 300:
            await self._audit.append(self._outcome("done", status))
        elif status in (401, 403) and self._peer is not None:
            try:
                await self._audit.append_refusal(self._outcome("refused", status))
            except UnavailableError as error:  # it was refused all the same
                log.warning("refusal-not-recorded", code=error.code, reason=str(error))

    async def _end_begun(self, status: int) -> None:
        is_refused = status >= 400 and status != _CRASHED
        if is_refused and self._shared is not None:
            self._audit.give_back(self._shared, self._begun)
            return
        outcome = self._outcome("done", status)
        if is_refused:
            self._audit.count_refusal(outcome.who)
        await self._audit.append(outcome)

    @property
    def _peer(self) -> Peer | None:
        return self._scope["state"].get("peer")

    def _outcome(self, step: Any, status: int) -> AuditEntry:
        return self._entry(
            step,
            of=self._begun,
            status=status,
            code=self._scope["state"].get("code", ""),
            body_bytes=self._body_bytes,
            body_digest=self._hash.hexdigest() if self._body_bytes else "",
            parameters=self._parameters(),
        )

    def _entry(self, step: Any, **outcome: Any) -> AuditEntry:
        peer, scope = self._peer, self._scope
        return AuditEntry(
            seq=0,
            at=self._audit.now(),
            step=step,
            who=spiffe_id(peer.identity) if peer is not None else self.subject,
            serial=peer.serial if peer is not None else "",
            method=scope["method"],
            path=scope["path"][:_TEXT_CHARS_MAX],
            query=scope["query_string"].decode("latin-1")[:_TEXT_CHARS_MAX],
            previous=NOTHING_BEFORE,
            **outcome,
        )

    def _parameters(self) -> str:
        """The body, when it is short JSON and holds no secret: an enrolment's holds a token."""
        is_secret = self._permission not in ("publish", "rollout", "admin")
        if is_secret or self._body_bytes > _PARAMETERS_BYTES_MAX or self._start[:1] != b"{":
            return ""
        try:
            return self._start.decode()
        except UnicodeDecodeError:
            return ""


async def _answer_instead(send: Send, cause: UnavailableError) -> None:
    log.error("outcome-not-recorded", code=cause.code, reason=str(cause))
    error = UnavailableError(
        "this was carried out, but its outcome could not be recorded",
        where=cause.where,
        hint="look at what it changed before you try again",
        code="audit-unavailable",
    )
    body = error_bytes(error_body(error))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
