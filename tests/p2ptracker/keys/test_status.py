"""Where keys are, and what a thief needs: as ``p2pctl keys status`` shows it."""

from __future__ import annotations

import io
from typing import cast

import msgspec
from rich.console import Console

from p2pctl.render.trust import view_keys
from p2pdeploy.messages.keys import KeyView, RotationRequest
from p2pdeploy.trust.signing import SigningKey
from p2ptracker.keys.rotation import Waits


async def view_of(tracker, role: str) -> KeyView:
    answer = await tracker.http.get("/v1/keys")
    views = msgspec.json.decode(answer.content, type=list[KeyView])
    return next(view for view in views if view.role == role)


async def test_keys_of_people_are_with_them_and_one_alone_does_nothing(tracker) -> None:
    before = await view_of(tracker, "rollout")
    assert (before.place, before.belongs) == ("here", "online")
    people = [SigningKey.generate(role="rollout") for _ in range(3)]
    request = RotationRequest(public_keys=tuple(k.public_key for k in people), threshold=2)
    await tracker.plane.keys.rotate("rollout", request)
    under_way = await view_of(tracker, "rollout")
    assert under_way.place == "here", "it counts until the end"
    tracker.plane.keys.waits = Waits(step_s=0.0, credentials_s=0.0)
    await tracker.plane.keys._step("rollout")
    after = await view_of(tracker, "rollout")
    assert (after.place, after.belongs) == ("elsewhere", "people")
    assert after.stolen == f"nothing alone; with 2 of these: {before.stolen}"
    console = Console(width=300, file=io.StringIO())
    console.print(view_keys([after]))
    assert "with people, 2 of 3" in cast(io.StringIO, console.file).getvalue()
