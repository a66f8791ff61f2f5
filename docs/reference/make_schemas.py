"""Write ``schemas/`` and ``README.md``: what ``p2pctl -o json`` prints, as JSON Schema.

Run it after every change of a document: ``.venv/bin/python docs/reference/make_schemas.py``.
A test compares what it would write with what is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from p2pctl.documents import (
    AcceptReport,
    AuditReport,
    DemoReport,
    DownReport,
    LintReport,
    PublishReport,
    RequestReport,
    RevokeReport,
    UpReport,
)
from p2pctl.fleet_dir import FleetFile
from p2pctl.rotating import NewKey
from p2pdeploy.messages.access import AccessRow
from p2pdeploy.messages.api import (
    ErrorDocument,
    HostView,
    LogsView,
    Reason,
    ReleaseView,
    RolloutPlanView,
    RolloutView,
    VersionsView,
    WhereRow,
)
from p2pdeploy.messages.audit import AuditEntry
from p2pdeploy.messages.cache import CacheView
from p2pdeploy.messages.enrolment_desk import EnrolmentStatus, TokenView
from p2pdeploy.messages.keys import KeyView, RotationAnswer
from p2pdeploy.messages.limits import HostLimitsView, LimitView
from p2pdeploy.messages.operators import IssuedOperator, OperatorView
from p2pdeploy.messages.prefetch import PrefetchView
from p2pdeploy.messages.signing import DelegationView
from p2pdeploy.messages.swarm import SpreadView
from p2pdeploy.trust.key_files import KeyStatus

FOLDER = Path(__file__).resolve().parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"

# File name, type, who prints it.
DOCUMENTS: list[tuple[str, Any, str]] = [
    ("error", ErrorDocument, "every command that ends with an error"),
    ("fleet-file", FleetFile, "`DIR/fleet.json`"),
    ("up", UpReport, "`p2pctl up`"),
    ("down", DownReport, "`p2pctl down`"),
    ("demo", DemoReport, "`p2pctl demo`"),
    ("lint", LintReport, "`p2pctl lint PATH`"),
    ("publish", PublishReport, "`p2pctl publish SVC VER PATH`"),
    ("release", ReleaseView, "`p2pctl release show SVC VER`, `p2pctl release sign SVC VER`"),
    ("releases", list[ReleaseView], "`p2pctl release list SVC`"),
    ("delegations", DelegationView, "`p2pctl release delegate SVC`"),
    ("hosts", list[HostView], "`p2pctl hosts`"),
    ("cache", list[CacheView], "`p2pctl cache show|prune`"),
    ("versions", VersionsView, "`p2pctl fleet versions SVC`"),
    ("where", list[WhereRow], "`p2pctl fleet where SVC VER`"),
    ("logs", LogsView, "`p2pctl logs HOST SVC`"),
    ("rollout-plan", RolloutPlanView, "`p2pctl rollout plan`"),
    (
        "rollout",
        RolloutView,
        "`p2pctl rollout apply|sign|get|status|pause|resume|retry|abort|revert|excuse`; "
        "with `get -w` one document a line",
    ),
    ("prefetch", PrefetchView, "`p2pctl prefetch`, `p2pctl prefetch get` and `cancel`"),
    ("prefetches", list[PrefetchView], "`p2pctl prefetch list`"),
    ("rollouts", list[RolloutView], "`p2pctl rollout history`, `p2pctl rollout sign --standing`"),
    ("spread", SpreadView, "`p2pctl swarm plot ROLLOUT -o json`"),
    ("reasons", list[Reason], "`p2pctl rollout why`"),
    ("join-tokens", list[TokenView], "`p2pctl enroll token|import`"),
    ("enrolment", EnrolmentStatus, "`p2pctl enroll status`"),
    ("host-revoked", RevokeReport, "`p2pctl enroll revoke HOST`"),
    ("auth-request", RequestReport, "`p2pctl auth request NAME`"),
    ("auth-accept", AcceptReport, "`p2pctl auth accept PASS`"),
    ("auth-matrix", list[AccessRow], "`p2pctl auth matrix`"),
    ("operators", list[OperatorView], "`p2pctl auth list`, `p2pctl auth revoke`"),
    ("operator", IssuedOperator, "`p2pctl auth issue`, `p2pctl auth renew`"),
    ("keys", list[KeyView], "`p2pctl keys status`"),
    (
        "key-files",
        list[KeyStatus],
        "`p2pctl keys status --folder`, `p2pctl keys export-offline OUT`",
    ),
    ("key", NewKey, "`p2pctl keys generate OUT`"),
    (
        "key-rotation",
        RotationAnswer,
        "`p2pctl keys rotate ROLE`, `p2pctl keys renew root|targets|SVC`",
    ),
    ("limits", list[LimitView], "`p2pctl limits get`"),
    ("limit", LimitView, "`p2pctl limits set|clear`"),
    ("host-limits", HostLimitsView, "`p2pctl limits get --host H`"),
    ("audit-entry", AuditEntry, "`p2pctl audit export`, one document a line"),
    ("audit-report", AuditReport, "`p2pctl audit verify`"),
]

INTRODUCTION = """\
# What `p2pctl -o json` prints

Made by `make_schemas.py`; do not edit.
With `-o json` standard output holds the document and nothing else; progress goes to standard error.
Times are RFC 3339 in UTC, durations are seconds as numbers.
Readers ignore fields they do not know: new ones may come, none of these goes or changes.

| schema | printed by |
|---|---|
"""


def make() -> dict[Path, str]:
    """Every file of this folder that is generated, with its text."""
    rows = "".join(
        f"| [{name}](schemas/{name}.json) | {printed_by.replace('|', chr(92) + '|')} |\n"
        for name, _, printed_by in DOCUMENTS
    )
    files = {FOLDER / "README.md": INTRODUCTION + rows}
    for name, kind, _ in DOCUMENTS:
        schema = {"$schema": DIALECT, "title": name, **msgspec.json.schema(kind)}
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        files[FOLDER / "schemas" / f"{name}.json"] = text
    return files


if __name__ == "__main__":
    for path, text in make().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
