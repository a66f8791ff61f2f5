"""Every document that a test gets is held against its published JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jsonschema_rs

__all__ = ["check_document", "schema_of"]

_SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"
_OF_TWO_WORDS = {
    ("release", "show"): "release",
    ("release", "list"): "releases",
    ("fleet", "versions"): "versions",
    ("fleet", "where"): "where",
    ("swarm", "plot"): "spread",
    ("rollout", "plan"): "rollout-plan",
    ("rollout", "why"): "reasons",
    ("rollout", "history"): "rollouts",
    ("prefetch", "list"): "prefetches",
    ("keys", "generate"): "key",
    ("keys", "rotate"): "key-rotation",
    ("keys", "renew"): "key-rotation",
    ("keys", "export-offline"): "key-files",
    ("enroll", "token"): "join-tokens",
    ("limits", "set"): "limit",
    ("limits", "clear"): "limit",
}


def schema_of(words: Sequence[str], document: object) -> str:
    """The name of the schema that the document of ``p2pctl WORDS`` must fit."""
    if isinstance(document, dict) and "error" in document:
        return "error"
    if words[:2] == ["rollout", "sign"] and isinstance(document, list):
        return "rollouts"  # --standing
    if words[:2] == ["limits", "get"] and "--host" in words:
        return "host-limits"
    return _OF_TWO_WORDS.get((words[0], words[1] if len(words) > 1 else ""), words[0])


def check_document(schema: str, document: object) -> None:
    """Raise ``jsonschema_rs.ValidationError`` unless *document* fits the schema of that name."""
    _validator(schema).validate(document)


@cache
def _validator(schema: str) -> jsonschema_rs.Validator:
    text = (_SCHEMAS / f"{schema}.json").read_text()
    return jsonschema_rs.validator_for(json.loads(text), validate_formats=True)
