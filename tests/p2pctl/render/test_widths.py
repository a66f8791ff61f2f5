"""What tables give up when a terminal is narrow: words wrap, names stay."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from p2pctl.render.listings import view_hosts
from p2pdeploy.ids import ServiceName, Version
from p2pdeploy.messages.api import HostView, ServiceView
from tests.p2pctl.host_views import a_host

NAME = "a-machine-with-a-rather-long-name-in-rack-17"


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_a_long_reason_wraps_and_no_host_name_is_cut(width: int) -> None:
    reason = "the health check answered 503 " * 12
    shown = drawn([host(reason)], width)
    assert NAME in shown
    assert "127.64.0.10" in shown
    assert "…" not in shown
    assert shown.count("503") == 12
    assert max(map(len, shown.splitlines())) <= max(width, 130)


def drawn(hosts: list[HostView], width: int) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width, soft_wrap=True).print(view_hosts(hosts), crop=False)
    return screen.getvalue()


def host(reason: str) -> HostView:
    service = ServiceView(
        service=ServiceName("hello"),
        version=Version("1.0.0"),
        state="failed",
        address="127.64.0.10:20000",
        since=None,
        age_s=12.0,
        reason=reason,
    )
    return a_host(service, name=NAME, address="127.64.0.10")
