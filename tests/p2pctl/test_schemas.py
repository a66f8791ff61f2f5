"""The JSON Schemas in docs/reference are what the documents are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def make_schemas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schemas", REFERENCE / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_schemas_are_current_and_none_is_left_over(make_schemas: ModuleType) -> None:
    made = make_schemas.make()
    for path, text in made.items():
        assert path.read_text() == text, f"run {REFERENCE / 'make_schemas.py'}"
    assert set((REFERENCE / "schemas").iterdir()) == {p for p in made if p.suffix == ".json"}


def test_fields_that_scripts_rely_on_are_required_or_have_a_default(
    make_schemas: ModuleType,
) -> None:
    stable = {
        "demo": {"ok", "hosts", "rollouts", "served_versions"},
        "rollout": {"id", "service", "version", "state", "fault_domains", "reasons"},
        "release": {"manifest_digest", "info_hash_v2", "size_bytes", "torrent_path"},
        "versions": {"service", "versions", "unknown"},
    }
    made = {path.stem: text for path, text in make_schemas.make().items()}
    for name, fields in stable.items():
        for field in fields:
            assert f'"{field}"' in made[name]
