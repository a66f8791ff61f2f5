"""``range_server.py ADDRESS PORT FOLDER``: files over HTTP/1.1 with ranges, as zsync asks for."""

from __future__ import annotations

import contextlib
import shutil
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BOUNDARY = "p2pdeployrange"
READY = "ready"


class RangeHandler(SimpleHTTPRequestHandler):
    """Answers GET, with one range, several or none."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base's name
        del format, args

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):  # zsync hangs up as soon as it has enough
            self._answer()

    def _answer(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        ranges = self.headers.get("Range")
        if ranges:
            self._send_ranges(path, ranges)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        with path.open("rb") as file:
            shutil.copyfileobj(file, self.wfile)

    def _send_ranges(self, path: Path, ranges: str) -> None:
        size_bytes = path.stat().st_size
        parts: list[tuple[str, bytes]] = []
        with path.open("rb") as file:
            for text in ranges.partition("=")[2].split(","):
                first, _, last = text.strip().partition("-")
                start, end = int(first), min(int(last or size_bytes), size_bytes - 1)
                file.seek(start)
                where = f"bytes {start}-{end}/{size_bytes}"
                parts.append((where, file.read(end - start + 1)))
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        if len(parts) == 1:
            body = parts[0][1]
            self.send_header("Content-Range", parts[0][0])
        else:
            # zsync reads only answers of just this shape.
            body = b"".join(
                f"\r\n--{_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Range: {where}\r\n\r\n".encode()
                + data
                for where, data in parts
            )
            body += f"\r\n--{_BOUNDARY}--\r\n".encode()
            self.send_header("Content-Type", f"multipart/byteranges; boundary={_BOUNDARY}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    address, port, folder = sys.argv[1:]
    handler = partial(RangeHandler, directory=folder)
    with ThreadingHTTPServer((address, int(port)), handler) as server:
        server.daemon_threads = True
        Path(folder, READY).touch()
        server.serve_forever()


if __name__ == "__main__":
    main()
