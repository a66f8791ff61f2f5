"""A plain web server of one folder: what the origin would be without a mesh."""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    """Address, port, folder, file to write when it listens."""
    address, port, folder, ready = sys.argv[1:]
    serve = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer((address, int(port)), serve) as server:
        Path(ready).touch()
        server.serve_forever()


if __name__ == "__main__":
    main()
