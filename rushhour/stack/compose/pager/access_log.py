"""Answers by status code from an access log, as a load balancer's exporter would count them."""

import re
from pathlib import Path

# The common log format, gunicorn's default among others: ... "GET /customers/1 HTTP/1.1" 200 512 ...
_LINE = re.compile(rb'"[A-Z]+ ([^ ?"]*)[^"]*" (\d{3}) ')
_READ_BYTES = 1 << 20


class AccessLog:
    """Counts the lines appended since the last read. Without a file, it serves no metrics."""

    def __init__(self, path: Path, skip: str = "") -> None:
        self._path = path
        self._skip = skip.encode()
        self._at = 0
        self._rest = b""
        self._answers = {"200": 0, "500": 0}  # so that a first failure is an increase
        self.seen = False

    def read(self) -> None:
        """Read to the end of the file; an incomplete last line waits for the next read."""
        try:
            with self._path.open("rb") as file:
                self.seen = True
                if file.seek(0, 2) < self._at:  # it was cut or replaced
                    self._at, self._rest = 0, b""
                file.seek(self._at)
                while data := file.read(_READ_BYTES):
                    self._at += len(data)
                    *lines, self._rest = (self._rest + data).split(b"\n")
                    for line in lines:
                        self._count(line)
        except FileNotFoundError:
            return

    def _count(self, line: bytes) -> None:
        found = _LINE.search(line)
        if found is None or (self._skip and found[1] == self._skip):
            return
        code = found[2].decode()
        self._answers[code] = self._answers.get(code, 0) + 1

    def text(self) -> str:
        """Return the counts in Prometheus's format; empty if there is no log."""
        self.read()
        if not self.seen:
            return ""
        failed = sum(count for code, count in self._answers.items() if code.startswith("5"))
        lines = [
            "# HELP http_requests_total Answers of the service by status code, from its access log.",
            "# TYPE http_requests_total counter",
            *(f'http_requests_total{{code="{code}"}} {n}' for code, n in sorted(self._answers.items())),
            "# HELP http_requests_5xx_total Answers with a status code of 500 or more.",
            "# TYPE http_requests_5xx_total counter",
            f"http_requests_5xx_total {failed}",
        ]
        return "\n".join(lines) + "\n"
