"""A small HTTP service: it says its version, and whether it is well.

GET /version   the version that runs, as text
GET /healthz   200, or 500 when this folder holds a file named ``broken``

Reads HOST, PORT and VERSION from its environment.  Needs Python 3 and nothing else.
"""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # a client that says nothing does not hold a thread for ever

    def do_GET(self) -> None:
        if self.path == "/version":
            self.answer(200, os.environ["VERSION"])
        elif self.path == "/healthz":
            broken = os.path.exists("broken")
            self.answer(500 if broken else 200, "broken" if broken else "ok")
        else:
            self.answer(404, "try /version or /healthz")

    def answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class says so
        if (
            getattr(self, "path", "") != "/healthz"
        ):  # asked every second: it would bury everything else
            super().log_message(format, *args)


def main() -> None:
    host, port = os.environ["HOST"], int(os.environ["PORT"])
    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True

    def stop(*_: object) -> None:
        # shutdown() waits for serve_forever(), which runs in this very thread.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    print(f"hello {os.environ['VERSION']} listens on {host}:{port}", file=sys.stderr, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
