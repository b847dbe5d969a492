"""Customers as in `referrals.py`, and some who start a download and stop reading it.

    locust -f locustfiles/abandoned_streams.py --host http://127.0.0.1:8000 --users 50 --spawn-rate 5

One in ten requests the export of all referrals, reads its first bytes and stops, like a phone that has lost
its network: the connection stays open, and the server cannot send the rest. These requests never end, so no
figure includes them; the figures show their effect on the other requests. All other customers are those of
`referrals.py`.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from locust import User, task

if TYPE_CHECKING:
    from locustfiles import referrals
else:
    import referrals  # Locust puts a locustfile's folder on the path

PATH = "/referrals.csv"
BUFFER_BYTES = 4096  # a small window: the server soon has to wait
READ_BYTES = 1024
AGAIN_S = 2.0  # between two downloads of one customer


class Reader(referrals.Customer):
    """A customer of `referrals.py`."""

    weight = 9


class WalksAway(User):
    """Starts downloads and abandons them, `DOWNLOADS` in all; their sockets stay open until the test ends."""

    weight = 1
    DOWNLOADS = 2
    session_length = None  # who arrives and walks away stays, with open sockets, until the test ends

    def on_start(self) -> None:
        self._open: list[socket.socket] = []

    @task
    def start_download(self) -> None:
        """Send the request, read the first bytes, and stop reading."""
        if len(self._open) >= self.DOWNLOADS:
            return
        address = urlsplit(str(self.host))
        download = socket.socket()
        download.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        download.settimeout(referrals.CONNECT_TIMEOUT_S)
        download.connect((address.hostname, address.port))
        download.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        download.recv(READ_BYTES)
        self._open.append(download)

    def wait_time(self) -> float:
        return AGAIN_S

    def on_stop(self) -> None:
        for download in self._open:
            download.close()
