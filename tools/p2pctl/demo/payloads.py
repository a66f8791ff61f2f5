"""Three versions of ``examples/hello`` with generated data; the same bytes on every machine."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import p2pctl
from p2pdeploy.errors import ConfigError
from p2pdeploy.payload.cut import CHUNK_BYTES_MAX

__all__ = [
    "BROKEN_MARK",
    "DATA_FILE",
    "change_data",
    "delta_bytes_max",
    "find_example",
    "generate_data",
    "start_tree",
]

DATA_FILE = "data.bin"
BROKEN_MARK = "broken"  # with this file in its tree hello answers its health check with 500
CHANGED_SHARE = 0.02
# Changes spread over the file, as in a rebuilt program.  Each makes a chunk or two new beside its
# own bytes, so that a small file has fewer: else most of it would be new.
_PLACES_MAX = 16
_BYTES_PER_PLACE = 16 * 1024 * 1024
_INSERTED_BYTES = 777  # no multiple of anything, so that every later offset shifts
# 2 % changed, each place touching a chunk or two of up to 256 KiB: far below a tenth.
_DELTA_SHARE = 0.10
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


def change_places(size_bytes: int) -> int:
    """At how many places :func:`change_data` changes a file of this size."""
    return max(1, min(_PLACES_MAX, size_bytes // _BYTES_PER_PLACE))


def delta_bytes_max(size_bytes: int) -> int:
    """What a change of that much data may move to a host at most: a tenth, and at least what was
    changed with three whole chunks around each place (the one it starts in, the one it ends in,
    and one until the cuts fall as before).
    """
    around = change_places(size_bytes) * 3 * CHUNK_BYTES_MAX
    return max(int(size_bytes * _DELTA_SHARE), int(size_bytes * CHANGED_SHARE) + around)


def change_data(path: Path, seed: int) -> None:
    """Replace 2 % of the file's bytes at up to 16 places, and insert some at each."""
    source = random.Random(seed)
    size_bytes = path.stat().st_size
    places = change_places(size_bytes)
    stride = size_bytes // places
    replaced = int(size_bytes * CHANGED_SHARE) // places
    draft = path.with_name(path.name + ".new")
    with path.open("rb") as old, draft.open("wb") as new:
        for place in range(places):
            new.write(source.randbytes(_INSERTED_BYTES + replaced))
            old.seek(place * stride + replaced)
            end = size_bytes if place == places - 1 else (place + 1) * stride
            while block := old.read(min(_BLOCK_BYTES, end - old.tell())):
                new.write(block)
    draft.replace(path)
