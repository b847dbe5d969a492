"""Sends requests by Locust's own client and by ours to a server of its own, and prints what came of each.

A process of its own: Locust patches the one that imports it.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

import gevent
import geventhttpclient.client
from gevent.server import StreamServer
from geventhttpclient.client import HTTPClientPool
from locust.contrib import fasthttp
from locust.env import Environment

from locustfiles.referrals import Customer as ShippedCustomer
from rushhour.load.client import Client, install

CUSTOMERS = 1_100  # more than select() can look at
PATIENT_S = 60.0  # a machine that stands still for a while must not end a request
HURRIED_S = 0.5  # of who asks for what never comes in time

ANSWERS = {
    "/ok": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "/large": b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
    "/error": b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy",
    "/missing": b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
    "/moved": b"HTTP/1.1 302 X\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n",
    "/kept": b"HTTP/1.1 307 X\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n",
    "/round": b"HTTP/1.1 302 X\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n",
    "/elsewhere": b"HTTP/1.1 302 X\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n",
    "/cookie": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n",
    "/ends": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "/garbage": b"what?\r\n\r\n",
    "/closes": b"",
}
CLOSING = ("/ends", "/cut", "/closes", "/garbage")


class Server:
    """Answers by path, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.connections = 0
        self.server = StreamServer(("127.0.0.1", 0), self.serve)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, connection: Any, _address: Any) -> None:
        self.connections += 1
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                head, length = [line], 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    head.append(line)
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = stream.read(length)
                self.sent.append(
                    (b"".join(head) + b"\r\n" + body).decode("latin-1").replace(self.url[17:], "PORT")
                )
                path = head[0].split()[1].decode().partition("?")[0]
                if path == "/hangs":
                    gevent.sleep(1)
                connection.sendall(ANSWERS.get(path, ANSWERS["/ok"]))
                if path in CLOSING:
                    return


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    *(("GET", path, {}) for path in ANSWERS),
    *(("POST", path, {"json": {"a": 1}}) for path in ANSWERS),
    ("GET", "/ok", {}),  # with the cookie of /cookie, which was sent before
    ("GET", "/hangs", {}),
    ("POST", "/hangs", {"json": {}}),
    ("HEAD", "/ok", {}),
    ("DELETE", "/ok", {}),
    ("PUT", "/ok", {"data": "text"}),
    ("PUT", "/ok", {"data": "žluťoučký", "headers": {"Content-Type": "text/plain"}}),
    ("PATCH", "/ok", {"data": b"\x00\xff", "headers": {"Content-Type": "application/octet-stream"}}),
    ("POST", "/ok", {}),
    ("POST", "/ok", {"data": {"form": "a b"}}),
    ("GET", "/ok?a=b&c=d", {}),
    ("GET", "/ok?a=b", {"params": {"c": "d e"}}),
    ("GET", "/with space/é?q=ü#part", {}),
    ("GET", "/a/../ok;v=1", {}),
    ("GET", "", {}),
    ("GET", "/ok", {"headers": {"user-agent": "mine", "X-A": "1", "x-a": "2"}}),
    ("GET", "/ok", {"headers": {"X-A": "1", "USER-AGENT": "mine", "X-B": "2"}}),
    ("POST", "/ok", {"json": {"a": 1}, "headers": {"User-Agent": "mine"}}),
    ("GET", "/ok", {"headers": {"User-Agent": "mine", "user-agent": "yours"}}),
    ("GET", "/ok", {"headers": {"Host": "other.test"}}),
    ("GET", "/ok", {"headers": {"X": "bad\r\nInjected: 1"}}),
    ("GET", "/ok", {"headers": {"Bad name": "1"}}),
    ("GET", "/ok", {"auth": ("user", "secret")}),
    ("GET", "/moved", {"allow_redirects": False}),
    ("POST", "/ok", {"data": "x", "headers": {"Content-Type": "a/b", "Transfer-Encoding": "chunked"}}),
    ("GET", "http://127.0.0.1:1/refused", {"name": "/refused"}),
    ("GET", "http://user:word@127.0.0.1:1/refused", {"name": "/refused"}),
    ("GET", "nonsense", {}),
]


def client_of(url: str, settings: dict[str, Any], timeout_s: float) -> Any:
    """The client of a customer with this time-out."""

    class Customer(fasthttp.FastHttpUser):
        host = url
        abstract = False
        network_timeout = timeout_s
        max_redirects = 3

    for name, value in settings.items():
        setattr(Customer, name, value[timeout_s] if name == "client_pool" else value)
    return Customer(Environment(user_classes=[Customer])).client


def outcomes(settings: dict[str, Any]) -> dict[str, Any]:
    """What customers see of each request, and what the server saw."""
    server = Server()
    patient, hurried = (client_of(server.url, settings, timeout_s) for timeout_s in (PATIENT_S, HURRIED_S))

    def ask(method: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
        return outcome(hurried if path == "/hangs" else patient, method, path, options)

    seen = [ask(method, path, options) for method, path, options in REQUESTS]
    patient.client.default_headers["X-Later"] = "1"
    for headers in ({}, {"x-LATER": "2"}):
        ask("GET", "/ok", {"headers": headers})
    parallel = [gevent.spawn(ask, "GET", path, {}) for path in ("/ok", "/large", "/hangs") * 6]
    gevent.joinall(parallel, raise_error=True)
    return {
        "seen": json.loads(json.dumps(seen).replace(server.url[17:], "PORT")),
        "sent": sorted(server.sent),
        "connections": server.connections,
        "parallel": sorted(str((each.value or {})["status"]) for each in parallel),
    }


def outcome(client: Any, method: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = client.request(method, path, **options)
    except Exception as error:  # noqa: BLE001  # it is compared
        return {"raised": repr(error)}
    failed = getattr(answer, "error", None)
    return {
        "status": answer.status_code,
        "content": (answer.content or b"").decode("latin-1"),
        "headers": sorted((answer.headers or {}).items()),
        "error": None if failed is None else f"{type(failed).__name__}: {failed}",
        "original": type(getattr(failed, "original", None)).__name__,
        "history": [item.status_code for item in getattr(answer, "history", [])],
        "url": str(answer.url),
        "method": answer.request.method,
        "body": str(answer.request.body),
        "request headers": sorted((name, value) for name, value in (answer.request.headers or {}).items()),
        "elapsed": getattr(answer, "elapsed", None) is not None,
    }


def connections_of(count: int) -> int:
    """How many connections so many customers open for two requests each."""
    server = Server()

    class Customer(fasthttp.FastHttpUser):
        host = server.url
        abstract = False

    environment = Environment(user_classes=[Customer])
    customers = [Customer(environment) for _ in range(count)]
    for _ in range(2):
        for customer in customers:
            assert customer.client.get("/ok").status_code == 200
    return server.connections


def contexts() -> int:
    """How many TLS contexts two customers of HTTPS have."""

    class Customer(fasthttp.FastHttpUser):
        host = "https://127.0.0.1:1"
        abstract = False

    environment = Environment(user_classes=[Customer])
    found: set[Any] = set()
    kept = []
    for _ in range(2):
        customer = Customer(environment)
        customer.client.get("/")
        [client] = customer.client.client.clientpool.clients.values()
        kept.append(client)
        pool: Any = client._connection_pool
        found.add(pool.ssl_context)
    return len(found)


def shipped_head() -> str | None:
    """The head of a request of the shipped customers as the plugin's client builds it; None: it does not."""
    phone: Any = SimpleNamespace(_opened=0, _phone="0-1")
    headers = ShippedCustomer.agent(phone) | {"Authorization": "Bearer t"}
    return Client("127.0.0.1", 80).head_of("GET", "/customers/7/referrals", None, headers)


def main() -> None:
    # As the plugin does; else the stock client sends a GET again, up to twelve times.
    geventhttpclient.client._may_retry_after_send_error = lambda method: False
    settings: list[dict[str, Any]] = [
        {},
        {"default_headers": {"X-Own": "1", "Accept-Language": "en"}},
        {"default_headers": {"User-Agent": "mine"}},
        {"max_retries": 1},
        {"client_pool": {each: HTTPClientPool(network_timeout=each) for each in (PATIENT_S, HURRIED_S)}},
    ]
    stock = [outcomes(each) for each in settings]
    install()
    ours = [outcomes(each) for each in settings]
    result = {
        "stock": stock,
        "ours": ours,
        "settings": [str(each) for each in settings],
        "requests": [f"{method} {path} {options}" for method, path, options in REQUESTS],
        "customers": CUSTOMERS,
        "connections": connections_of(CUSTOMERS),
        "contexts": contexts(),
        "shipped": shipped_head(),
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
