"""Customers of a field case, and readers who ask for an export and take in a few kilobytes a second of it."""

# Locust's user classes and decorators carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import gevent
from locust import User, between, task

if TYPE_CHECKING:
    from tests.field import customers
else:
    import customers  # Locust puts a locustfile's folder on the path

TIMEOUT_S = 8.0
READS = 40


class Customer(customers.Customer):
    """A customer as usual."""

    weight = 4


class Reader(User):
    """Reads a little, and goes; what it does to the others is what counts, so it is in no figure."""

    weight = 1
    wait_time = between(0.5, 1)

    @task
    def export(self) -> None:
        address = urlsplit(str(self.host))
        request = f"GET /export/1 HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"
        try:
            with socket.socket() as sock:
                sock.settimeout(TIMEOUT_S)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect((address.hostname, address.port))
                sock.sendall(request.encode())
                for _ in range(READS):
                    if not sock.recv(2000):
                        return
                    gevent.sleep(0.1)
        except OSError:  # the service found no connection for it: it comes back later
            return
