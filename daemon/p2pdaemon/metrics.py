"""The daemon's figures in Prometheus' text format.

Names are stable: dashboards and alerts rely on them.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from typing import get_args

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from p2pdaemon.disk_room import DiskUsage
from p2pdeploy.gossip.statistics import GossipStatistics, ShellStatistics
from p2pdeploy.messages.rates import RateReason, RatesInForce
from p2pdeploy.messages.swarm import SOURCES, SourceBytes
from p2pdeploy.swarm.progress import Progress

__all__ = ["Figures", "render"]

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted, at one instant."""

    core: GossipStatistics
    shell: ShellStatistics
    torrents: list[Progress]
    copied_bytes: int  # out of other releases on this host
    shared_bytes: int  # the same without a copy, where the filesystem can
    disk: DiskUsage
    received: SourceBytes
    control_failures: int  # calls to the control plane without a usable answer
    orders_refused: int  # items of the control plane that did not verify
    requests_dropped: int  # of the host API
    rates: RatesInForce
    lag_s: float
    lag_max_s: float


def render(figures: Figures) -> str:
    """The text that a scraper reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return generate_latest(registry).decode()


class _Collector:
    """What prometheus_client asks for its metrics."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield from _gossip(self._figures.core, self._figures.shell)
        yield from _swarm(self._figures.torrents)
        yield _counter(
            "p2pdaemon_reused_bytes",
            "Payload taken from other releases on this host.",
            {"copied": self._figures.copied_bytes, "shared": self._figures.shared_bytes},
        )
        yield from _disk(self._figures.disk)
        yield _sources(self._figures.received)
        yield from _rates(self._figures.rates)
        yield from _process(self._figures)


def _gossip(core: GossipStatistics, shell: ShellStatistics) -> Iterator[Metric]:
    yield _counter(
        "p2pdaemon_gossip_dropped",
        "Datagrams, streams and items that were dropped.",
        {
            "mac": shell.dropped_mac,
            "replayed": shell.dropped_replayed,
            "malformed": shell.dropped_malformed,
            "unsendable": shell.dropped_unsendable,
            "stream": shell.streams_dropped,
            "turned-away": shell.streams_turned_away,
            "foreign-cell": core.totals.dropped_foreign_cell,
            "misplaced": core.totals.dropped_misplaced,
            "refused-item": core.totals.items_refused,
            "equivocation": core.equivocations,
            "state-full": core.state_refusals,
        },
    )
    yield _counter(
        "p2pdaemon_gossip_packets",
        "Gossip packets by direction.",
        {"sent": core.totals.packets_sent, "received": core.totals.packets_received},
    )
    yield _gauge(
        "p2pdaemon_members",
        "Hosts of the cell by what membership believes of them.",
        {
            "alive": core.members_alive,
            "suspect": core.members_suspect,
            "unreachable": core.members_unreachable,
        },
    )


def _swarm(torrents: list[Progress]) -> Iterator[Metric]:
    yield _gauge(
        "p2pdaemon_torrents",
        "Releases by what the swarm does with them.",
        {
            "seeding": sum(progress.complete for progress in torrents),
            "fetching": sum(not progress.complete for progress in torrents),
        },
    )
    yield _counter(
        "p2pdaemon_fetched_bytes",
        "Payload received, by where it came from.",
        {
            "peers": sum(progress.peer_bytes for progress in torrents),
            "origin": sum(progress.dealt_bytes for progress in torrents),
        },
    )
    yield _counter(
        "p2pdaemon_hash_failures",
        "Pieces that arrived wrong.",
        {"piece": sum(progress.hash_failures for progress in torrents)},
    )


def _disk(disk: DiskUsage) -> Iterator[Metric]:
    yield _gauge(
        "p2pdaemon_disk_bytes",
        "Room on the disk of releases: free, kept from them, spoken for, and lacking.",
        {
            "free": disk.free_bytes,
            "reserve": disk.reserve_bytes,
            "held": disk.held_bytes,
            "needed": disk.needed_bytes,
        },
    )
    yield _gauge("p2pdaemon_disk_full", "Releases that wait for room.", {"waiting": disk.waiting})


def _sources(received: SourceBytes) -> Metric:
    family = CounterMetricFamily(
        "p2p_swarm_received_bytes",
        "Payload by where it came from; local was on the host before.",
        labels=["source"],
    )
    for source in SOURCES:
        family.add_metric([source], getattr(received, source))
    return family


def _rates(rates: RatesInForce) -> Iterator[Metric]:
    limits = {
        "download": rates.download_bytes_per_s,
        "upload": rates.upload_bytes_per_s,
        "uplink": rates.uplink_bytes_per_s,
    }
    yield _gauge(
        "p2pdaemon_rate_limit_bytes_per_second",
        "What the swarm keeps to; +Inf is no limit.",
        {kind: float("inf") if rate is None else rate for kind, rate in limits.items()},
    )
    reasons = {"download": rates.download_reason, "upload": rates.upload_reason}
    yield _gauge(
        "p2pdaemon_rate_limited",
        "Why: 1 for the reason that holds.",
        {
            f"{direction}-{reason}": float(held == reason)
            for direction, held in reasons.items()
            for reason in get_args(RateReason)
        },
    )
    yield _gauge("p2pdaemon_pressure", "From 1 on the swarm yields.", {"now": rates.pressure})
    yield _gauge(
        "p2pdaemon_pressure_unknown",
        "1 for signals that this kernel or container does not give.",
        {signal: float(signal in rates.missing) for signal in ("psi", "cpu", "disk")},
    )


def _process(figures: Figures) -> Iterator[Metric]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield _counter(
        "p2pdaemon_failures",
        "Calls, orders and requests that came to nothing.",
        {
            "control-plane": figures.control_failures,
            "order": figures.orders_refused,
            "host-api": figures.requests_dropped,
        },
    )
    yield _counter(
        "p2pdaemon_cpu_seconds", "Processor time.", {"all": used.ru_utime + used.ru_stime}
    )
    yield _gauge("p2pdaemon_rss_bytes", "Resident memory.", {"now": _rss_bytes()})
    yield _gauge(
        "p2pdaemon_loop_lag_seconds",
        "How late the event loop was.",
        {"last": figures.lag_s, "max": figures.lag_max_s},
    )


def _counter(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["kind"])
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["kind"])
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _rss_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
