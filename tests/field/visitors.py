"""Customers of a field case, and visitors who open a websocket, ask now and then, and keep it open."""

# Locust's user classes and decorators carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

from typing import TYPE_CHECKING

from locust import User, between, task
from websocket import WebSocket, WebSocketException, create_connection

if TYPE_CHECKING:
    from tests.field import customers
else:
    import customers  # Locust puts a locustfile's folder on the path

TIMEOUT_S = 8.0


class Customer(customers.Customer):
    """A customer as usual."""

    weight = 3


class Visitor(User):
    """Asks over a websocket; what it does to the others is what counts, so it is in no figure."""

    weight = 1
    wait_time = between(1, 2)

    def on_start(self) -> None:
        self._socket: WebSocket | None = None

    @task
    def ask(self) -> None:
        try:
            if self._socket is None:
                address = str(self.host).replace("http://", "ws://", 1)
                self._socket = create_connection(f"{address}/chat", timeout=TIMEOUT_S)
            self._socket.send("more?")
            self._socket.recv()
        except (OSError, WebSocketException):  # the service found no connection for it: it comes back later
            self._socket = None
