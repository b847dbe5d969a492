"""Keeps the connections of Locust's customers with less CPU and memory than stock geventhttpclient.

- Customers who send to one place share the resolved address and, for HTTPS, the TLS context.
- A connection is looked at with poll(): select() fails on file descriptors above 1023, so that the stock
  client opens a connection for each request once there are a thousand customers.
"""

# geventhttpclient's classes carry no types.
# mypy: allow-untyped-calls

import select
import socket
import ssl
import time
from typing import Any, Final

import gevent
import gevent.ssl
import geventhttpclient.connectionpool as pools
from gevent.monkey import get_original
from locust.contrib.fasthttp import insecure_ssl_context_factory

RESOLVED_S: Final = 5.0  # an address of a name is asked for again after this long
_poll: Final = get_original("select", "poll")


class Idle(list[Any]):
    """The connections that a client does not use now, the last used first, in place of a queue of gevent."""

    put = list.append

    def empty(self) -> bool:
        return not self

    def get(self, block: bool = False) -> Any:  # noqa: ARG002  # the stock code never blocks here
        return self.pop()


class Lean:
    """The connections of one client: resolved once for all customers, and looked at by poll()."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._socket_queue = Idle()

    def _resolve(self) -> Any:
        this: Any = self
        key = (this._connection_host, this._connection_port, this.disable_ipv6)
        until_s, found = _resolved.get(key, (0.0, None))
        if found is None or time.monotonic() >= until_s:
            found = numeric(*key[:2]) or super()._resolve()  # type: ignore[misc]
            _resolved[key] = (time.monotonic() + RESOLVED_S, found)
        return found

    def _is_socket_alive(self, sock: Any) -> bool:
        if sock is None or sock.fileno() < 0:
            return False
        looker = _poll()
        looker.register(sock.fileno(), select.POLLIN)
        return not looker.poll(0)  # what is readable while nothing was asked has ended, or is out of step


class ConnectionPool(Lean, pools.ConnectionPool):  # type: ignore[misc]
    """Connections without TLS."""


class SSLConnectionPool(Lean, pools.SSLConnectionPool):  # type: ignore[misc]
    """Connections with TLS."""


_resolved: Final[dict[tuple[str, int, bool], tuple[float, Any]]] = {}
_contexts: Final[dict[tuple[Any, ...], ssl.SSLContext]] = {}
_new_context: Final = pools.init_ssl_context


def numeric(host: str, port: int) -> list[Any] | None:
    """Return what getaddrinfo() finds for an IPv4 address, which needs no look-up; None for a name."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return None
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.SOL_TCP, "", (host, port))]


def shared_context(
    factory: Any, ca_certs: str | None, check_hostname: bool = True, ssl_options: Any = None
) -> ssl.SSLContext:
    """Return the TLS context for these settings; Locust makes one for each customer, with all certificates.

    A locustfile's own factory may give each customer another certificate, so it is asked each time.
    """
    if factory not in (insecure_ssl_context_factory, gevent.ssl.create_default_context):
        return _new_context(factory, ca_certs, check_hostname, ssl_options)
    options = {name: value for name, value in (ssl_options or {}).items() if name != "server_hostname"}
    key = (factory, ca_certs, check_hostname, repr(sorted(options.items())))
    if key not in _contexts:
        _contexts[key] = _new_context(factory, ca_certs, check_hostname, ssl_options)
    return _contexts[key]
