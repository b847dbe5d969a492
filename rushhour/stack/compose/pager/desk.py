"""Takes Alertmanager's webhooks, one path per policy, and appends each to a file with its time."""

import json
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote

from .access_log import AccessLog

METRICS, READY = "/metrics", "/-/ready"
MAX_BYTES = 16 << 20


def line_of(policy: str, body: bytes, at: datetime, monotonic_s: float) -> str:
    """Convert a notification to a line of JSON. Raises ValueError or KeyError if it is none."""
    notification = json.loads(body)
    return json.dumps(
        {
            "at": at.isoformat(timespec="milliseconds"),
            "monotonic_s": round(monotonic_s, 4),
            "policy": policy,
            "status": notification["status"],
            "group": notification["groupLabels"],
            "alerts": [
                {
                    "status": alert["status"],
                    "labels": alert["labels"],
                    "starts_at": alert["startsAt"],
                    "ends_at": alert["endsAt"],
                }
                for alert in notification["alerts"]
            ],
        },
        separators=(",", ":"),
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # many groups may notify at once


def server(port: int, notifications: Path, log: AccessLog, host: str = "") -> ThreadingHTTPServer:
    """Return a bound server; call its `serve_forever`."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            monotonic_s, at = time.monotonic(), datetime.now(UTC)
            size = int(self.headers.get("Content-Length") or 0)
            if size > MAX_BYTES:
                self._answer(413, f"more than {MAX_BYTES} bytes\n")
                return
            try:
                line = line_of(unquote(self.path.strip("/")), self.rfile.read(size), at, monotonic_s)
            except (ValueError, KeyError, TypeError) as error:
                self._answer(400, f"not a notification of Alertmanager's: {error!r}\n")
                return
            with lock, notifications.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._answer(200, "")

        def do_GET(self) -> None:
            if self.path == READY:
                self._answer(200, "ready\n")
            elif self.path == METRICS:
                with lock:
                    text = log.text()
                self._answer(200, text, "text/plain; version=0.0.4; charset=utf-8")
            else:
                self._answer(404, f"GET {METRICS}, GET {READY}, POST /POLICY\n")

        def _answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
            """Log nothing: all notifications are in the file."""

    return _Server((host, port), Handler)


def serve(port: int, notifications: Path, log: AccessLog) -> None:
    """Serve until the process ends. An empty file means that no notification was received."""
    notifications.touch()
    with server(port, notifications, log) as desk:
        desk.serve_forever()
