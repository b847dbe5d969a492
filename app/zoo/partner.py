"""The partner's reward service: a small process that answers after a delay.

    python -m app.zoo.partner --bind 127.0.0.1:8100

REFERRALS_PARTNER_DELAY_S sets the delay in seconds; `PUT /delay` with a number as its body changes it.
"""

import argparse
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Partner(BaseHTTPRequestHandler):
    """`GET /points/7` -> `{"points": 70}` after the delay; `GET /health` at once."""

    protocol_version = "HTTP/1.1"
    delay_s = 0.0

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {"status": "ok"})
            return
        customer_id = self.path.rpartition("/")[2]
        if not (self.path.startswith("/points/") and customer_id.isdecimal()):
            self._answer(404, {"error": f"no {self.path}"})
            return
        time.sleep(Partner.delay_s)
        self._answer(200, {"points": int(customer_id) % 97 * 10})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            Partner.delay_s = seconds(body.decode())
        except ValueError as error:
            self._answer(400, {"error": str(error)})
            return
        self._answer(200, {"delay_s": Partner.delay_s})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Write no log: the service's own log has enough."""

    def _answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def seconds(text: str) -> float:
    """Parse a number of seconds from 0 to 600. Raises ValueError."""
    number = float(text)
    if not 0 <= number <= 600:
        raise ValueError(f"{text!r} is not a number of seconds from 0 to 600")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", required=True, metavar="HOST:PORT")
    host, _, port = parser.parse_args().bind.rpartition(":")
    Partner.delay_s = seconds(os.environ.get("REFERRALS_PARTNER_DELAY_S", "0"))
    with Server((host, int(port)), Partner) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
