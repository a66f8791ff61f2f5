"""Three versions of ``examples/hello`` with generated data; the same bytes on every machine."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import p2pctl
from p2pdeploy.errors import ConfigError

__all__ = ["BROKEN_MARK", "DATA_FILE", "change_data", "find_example", "generate_data", "start_tree"]

DATA_FILE = "data.bin"
BROKEN_MARK = "broken"  # with this file in its tree hello answers its health check with 500
CHANGED_SHARE = 0.02
_PLACES = 16  # changes spread over the file, as in a rebuilt program
_INSERTED_BYTES = 777  # no multiple of anything, so that every later offset shifts
_BLOCK_BYTES = 1024 * 1024


def find_example(asked: Path | None) -> Path:
    """The hello payload: *asked*, that of the source checkout we run from, or the packaged one.

    Raises:
        ConfigError: there is none.
    """
    package = Path(p2pctl.__file__).resolve().parent
    checked_out, packaged = package.parents[1] / "examples" / "hello", package / "_examples/hello"
    example = asked or (checked_out if checked_out.is_dir() else packaged)
    if not (example / "service.toml").is_file():
        raise ConfigError(
            "the hello example is not here",
            where=str(example),
            hint="run from a source checkout, or name one with --example PATH",
            code="no-example",
        )
    return example


def start_tree(example: Path, tree: Path) -> None:
    """Copy the example to *tree*, without what running it there left behind."""
    shutil.copytree(example, tree, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def generate_data(path: Path, size_bytes: int, seed: int) -> None:
    """Write *size_bytes* of bytes that do not compress, the same for the same *seed*."""
    source = random.Random(seed)
    with path.open("wb") as file:
        while size_bytes > 0:
            count = min(size_bytes, _BLOCK_BYTES)
            file.write(source.randbytes(count))
            size_bytes -= count


def change_data(path: Path, seed: int) -> None:
    """Replace 2 % of the file's bytes at 16 places, and insert some at each."""
    source = random.Random(seed)
    size_bytes = path.stat().st_size
    stride = size_bytes // _PLACES
    replaced = int(size_bytes * CHANGED_SHARE) // _PLACES
    draft = path.with_name(path.name + ".new")
    with path.open("rb") as old, draft.open("wb") as new:
        for place in range(_PLACES):
            new.write(source.randbytes(_INSERTED_BYTES + replaced))
            old.seek(place * stride + replaced)
            end = size_bytes if place == _PLACES - 1 else (place + 1) * stride
            while block := old.read(min(_BLOCK_BYTES, end - old.tell())):
                new.write(block)
    draft.replace(path)
