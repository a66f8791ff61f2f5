"""The story: three versions, and what must come of each.

1. ``1.0.0`` goes to every host, fault domain by fault domain.
2. ``1.1.0`` differs in 2 % of its data: only about that much moves.
3. ``1.2.0`` fails its health check: it stops in the first fault domain and goes back to 1.1.0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from p2pctl.client import ApiClient
from p2pctl.demo.loopback import limit_s, measure_goodput
from p2pctl.demo.payloads import (
    BROKEN_MARK,
    DATA_FILE,
    change_data,
    delta_bytes_max,
    generate_data,
    start_tree,
)
from p2pctl.demo.served import ask_versions, reported_versions
from p2pctl.documents import DemoReport, DemoRollout
from p2pctl.durations import show_duration
from p2pctl.lab.layout import ENVIRONMENT, MACHINE_FUNCTION
from p2pctl.polling import poll
from p2pctl.publishing import PublishProgress, publish_tree
from p2pctl.render.listings import show_bytes
from p2pctl.watching import follow, is_final
from p2pdeploy.ids import ServiceName, Version
from p2pdeploy.messages.api import HostView, RolloutRequest, RolloutView
from p2pdeploy.topology import Host

__all__ = ["Chapter", "Stage", "StoryResult", "tell_story"]

SERVICE = ServiceName("hello")
FIRST, SECOND, BROKEN = Version("1.0.0"), Version("1.1.0"), Version("1.2.0")
_ROLLOUT_TIMEOUT_S = 300.0
_REPORT_TIMEOUT_S = 15.0  # reports travel by gossip and sync: about two seconds
_SEED = 20_240_229
_LIMIT_WORTH_BYTES = 16 * 1024 * 1024  # below this, waits and not bytes are what is measured


class Stage(NamedTuple):
    """What the story needs: the fleet, a scratch folder, and somebody to tell."""

    api: ApiClient
    hosts: list[Host]
    example: Path
    scratch: Path
    data_bytes: int
    tell: Callable[[str], None]
    show: Callable[[RolloutView], None]
    open_progress: Callable[[], PublishProgress]


class Chapter(msgspec.Struct, frozen=True, kw_only=True):
    """One version as the table at the end has it."""

    rollout: DemoRollout
    size_bytes: int
    publish_s: float
    fetch_s: float | None  # until every host had the bytes; None: not all of them fetched
    limit_s: float | None  # shared loopback; None: too few bytes to say
    dealt_bytes: int  # that the origin sent


class StoryResult(NamedTuple):
    """The document, and what only the table shows."""

    report: DemoReport
    chapters: list[Chapter]


def tell_story(stage: Stage) -> StoryResult:
    """Tell the whole story on a fleet that is up.

    Returns:
        What came of it; ``report.ok`` is False when anything was not as told.

    Raises:
        P2PDeployError: a step could not even be taken.
    """
    goodput = measure_goodput(stage.hosts[0].address)
    tree = stage.scratch / SERVICE
    start_tree(stage.example, tree)
    generate_data(tree / DATA_FILE, stage.data_bytes, _SEED)
    chapters: list[Chapter] = []
    faults: list[str] = []
    for version, prepare, judge in _CHAPTERS:
        prepare(tree)
        chapters.append(_chapter(stage, tree, version, goodput))
        faults += judge(stage, chapters[-1])
        if faults:
            break  # what comes next starts from an end that was not reached
    return StoryResult(
        DemoReport(
            ok=not faults,
            hosts=len(stage.hosts),
            rollouts=[chapter.rollout for chapter in chapters],
            served_versions=ask_versions(_host_views(stage), SERVICE),
            faults=faults,
        ),
        chapters,
    )


def _chapter(stage: Stage, tree: Path, version: Version, goodput: float) -> Chapter:
    stage.tell(f"publishing {SERVICE} {version}")
    with stage.open_progress() as progress:
        published = publish_tree(stage.api, SERVICE, version, tree, progress)
    stage.tell(
        f"published {SERVICE} {version}: {show_bytes(published.size_bytes)}, "
        f"{show_bytes(published.sent_bytes)} sent, in {show_duration(published.seconds)}"
    )
    rollout, fetch_s = _roll_out(stage, version)
    moved = rollout.bytes_per_host_max
    worth = fetch_s is not None and moved >= _LIMIT_WORTH_BYTES
    return Chapter(
        rollout=rollout,
        size_bytes=published.size_bytes,
        publish_s=published.seconds,
        fetch_s=fetch_s,
        limit_s=limit_s(moved, len(stage.hosts), goodput) if worth else None,
        dealt_bytes=stage.api.dealt_bytes(SERVICE, version),
    )


def _roll_out(stage: Stage, version: Version) -> tuple[DemoRollout, float | None]:
    started = time.monotonic()
    request = RolloutRequest(
        service=SERVICE,
        version=version,
        environment=ENVIRONMENT,
        machine_function=MACHINE_FUNCTION,
    )
    view = stage.api.apply_rollout(request)
    fetch_s: float | None = None
    for seen in follow(stage.api, view.id, timeout_s=_ROLLOUT_TIMEOUT_S):
        view = seen
        if fetch_s is None and _all_fetched(view):
            fetch_s = round(time.monotonic() - started, 3)
        stage.show(view)
    began = [domain for domain in view.fault_domains if domain.started_at]
    began.sort(key=lambda domain: (domain.started_at, domain.name))
    rollout = DemoRollout(
        version=version,
        outcome=view.state,
        seconds=round(time.monotonic() - started, 3),
        fd_order=[domain.name for domain in began],
        bytes_per_host_max=view.bytes_per_host_max,
    )
    ended = "" if is_final(view) else f" after {_ROLLOUT_TIMEOUT_S:.0f} s, not final"
    stage.tell(f"{SERVICE} {version}: {view.state}{ended} in {show_duration(rollout.seconds)}")
    return rollout, fetch_s


def _all_fetched(view: RolloutView) -> bool:
    return bool(view.fault_domains) and not any(
        domain.states.get("waiting") or domain.states.get("fetching")
        for domain in view.fault_domains
    )


def _judge_first(stage: Stage, chapter: Chapter) -> list[str]:
    expected = sorted({host.fault_domain for host in stage.hosts})
    faults = _faults_of_rollout(chapter.rollout, "complete", expected)
    return faults + _faults_of_service(stage, chapter.rollout.version)


def _judge_second(stage: Stage, chapter: Chapter) -> list[str]:
    faults = _judge_first(stage, chapter)
    moved, size = chapter.rollout.bytes_per_host_max, chapter.size_bytes
    if moved > delta_bytes_max(size):
        faults.append(
            f"{chapter.rollout.version} moved {moved} bytes to a host, of {size}; "
            f"{delta_bytes_max(size)} were expected at most"
        )
    return faults


def _judge_broken(stage: Stage, chapter: Chapter) -> list[str]:
    first = min(host.fault_domain for host in stage.hosts)
    faults = _faults_of_rollout(chapter.rollout, "rolled-back", [first])
    return faults + _faults_of_service(stage, SECOND)


def _faults_of_rollout(rollout: DemoRollout, outcome: str, fd_order: Sequence[str]) -> list[str]:
    faults: list[str] = []
    if rollout.outcome != outcome:
        faults.append(f"{rollout.version} ended as {rollout.outcome}, not {outcome}")
    if rollout.fd_order != list(fd_order):
        faults.append(f"{rollout.version} reached {rollout.fd_order}, not {fd_order}")
    return faults


def _faults_of_service(stage: Stage, version: Version) -> list[str]:
    """What services answer and what the fleet reports, both against *version*."""
    wanted = {host.name: str(version) for host in stage.hosts}
    reported = served = dict[str, str]()
    for _ in poll(_REPORT_TIMEOUT_S):
        hosts = _host_views(stage)
        reported = reported_versions(hosts, SERVICE)
        served = ask_versions(hosts, SERVICE)
        if reported == wanted and served == wanted:
            return []
    return [
        f"{name} serves {served.get(name)} and is reported as {reported.get(name)}, not {version}"
        for name in wanted
        if served.get(name) != version or reported.get(name) != version
    ]


def _host_views(stage: Stage) -> list[HostView]:
    return stage.api.hosts(limit=len(stage.hosts))


def _keep(_tree: Path) -> None:
    """The first version is the tree as it was made."""


def _change(tree: Path) -> None:
    change_data(tree / DATA_FILE, _SEED + 1)


def _break(tree: Path) -> None:
    (tree / BROKEN_MARK).touch()


_CHAPTERS = (
    (FIRST, _keep, _judge_first),
    (SECOND, _change, _judge_second),
    (BROKEN, _break, _judge_broken),
)
