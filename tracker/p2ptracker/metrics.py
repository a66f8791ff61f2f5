"""Every figure the control plane exposes, in one place; served at ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["Metrics"]


class Metrics:
    """The control plane's own registry: two of them may live in one process, as in tests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.announces = Counter(
            "p2p_announce_requests",
            "Requests at the announce endpoint",
            ["outcome"],
            registry=self.registry,
        )
        self.uploads_turned_away = Counter(
            "p2p_uploads_turned_away",
            "Upload connections closed because too many were open",
            registry=self.registry,
        )
        self.uploads_refused = Counter(
            "p2p_uploads_refused",
            "Uploads that were admitted to the listener and refused with an answer",
            ["code"],
            registry=self.registry,
        )
        self.api_turned_away = Counter(
            "p2p_api_connections_turned_away",
            "API connections closed because too many were open",
            ["who"],
            registry=self.registry,
        )
        self.api_crashed = Counter(
            "p2p_api_connections_crashed",
            "API connections that ended by an error of the server; its log has the details",
            registry=self.registry,
        )
        self.refusals = Counter(
            "p2p_api_refusals",
            "API requests refused before they reached a route",
            ["code"],
            registry=self.registry,
        )
        self.errors = Counter(
            "p2p_api_errors", "API answers that were errors", ["code"], registry=self.registry
        )
        self.task_failures = Counter(
            "p2p_task_failures",
            "Times that something the control plane does by itself failed, and is tried again",
            ["task"],
            registry=self.registry,
        )
        self.syncs = Counter(
            "p2p_cell_syncs", "Posts of delegates", ["cell", "kind"], registry=self.registry
        )
        self.held_offers = Gauge(
            "p2p_held_offers",
            "Offers of delegates that wait for news of their cell",
            registry=self.registry,
        )
        self.refused_items = Gauge(
            "p2p_cell_refused_items",
            "Items of delegates that were forged, foreign or malformed",
            ["cell"],
            registry=self.registry,
        )
        self.items = Gauge(
            "p2p_cell_items", "Items in a cell's state", ["cell"], registry=self.registry
        )
        self.alive = Gauge(
            "p2p_cell_hosts_alive", "Hosts some delegate sees", ["cell"], registry=self.registry
        )
