"""Content-defined chunks: where they are cut, and their digests.

The cut points are a wire format: a host finds the chunks of an older release in a newer one only
if both were cut alike.  So the parameters below never change without a new manifest format, and
a test holds golden cut points.

Source: Xia et al., FastCDC (IEEE TPDS 2020), https://ieeexplore.ieee.org/document/9055082
"""

from __future__ import annotations

import blake3
from pyfastcdc import FastCDC

from p2pdeploy.manifest import BlobChunks

__all__ = ["CHUNK_BYTES_MAX", "CHUNK_BYTES_MIN", "ChunkCutter"]

CHUNK_BYTES_MIN = 16 * 1024
CHUNK_BYTES_MEAN = 64 * 1024  # small enough to find what did not change, few enough to list
CHUNK_BYTES_MAX = 256 * 1024


class ChunkCutter:
    """Cuts one blob.  Feed it windows in order; how a blob is split into windows does not matter.

    What follows the last sure cut is carried over: the caller puts those
    :attr:`carried_bytes` in front of the next window.
    """

    def __init__(self) -> None:
        self.carried_bytes = 0  # at most CHUNK_BYTES_MAX
        self._cutter = FastCDC(
            CHUNK_BYTES_MEAN,
            min_size=CHUNK_BYTES_MIN,
            max_size=CHUNK_BYTES_MAX,
            normalized_chunking=1,
            seed=0,
        )
        self._digests: list[bytes] = []
        self._sizes_bytes: list[int] = []

    def feed(self, window: memoryview, *, last: bool) -> None:
        """Cut *window*, which starts with the carried bytes; *last*: the blob ends with it."""
        held: memoryview | None = None
        for chunk in self._cutter.cut_buf(window):
            if held is not None:
                self._add(held)
            held = chunk.data
        self.carried_bytes = 0
        if held is not None and last:
            self._add(held)
        elif held is not None:  # its end may be the window's, not a cut
            self.carried_bytes = len(held)

    def finish(self) -> BlobChunks:
        """The chunks in order.  Call after the last window."""
        assert self.carried_bytes == 0, "the last window was not announced"
        return BlobChunks(b"".join(self._digests), tuple(self._sizes_bytes))

    def _add(self, chunk: memoryview) -> None:
        self._digests.append(blake3.blake3(chunk).digest())
        self._sizes_bytes.append(len(chunk))
