"""Sends the requests of Locust's FastHttpUser with less CPU and memory, byte for byte as stock Locust does.

Locust builds a `LocustUserAgent` for each customer. The subclass here takes its place. It sends the ordinary
request itself: a plain path, headers of text, a body of text or bytes, no cookie. All else (a proxy, params,
files, streams of bytes, retries, cookies in the jar) goes through the stock code of geventhttpclient.

A request object is filled in, and a URL parsed, only when somebody looks at it. The connections are
those of connections.py.
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

import errno
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar
from typing import Any, Final

import gevent
import geventhttpclient.client
import geventhttpclient.connectionpool as pools
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.header import Headers
from geventhttpclient.response import HTTPSocketPoolResponse
from geventhttpclient.url import URL
from locust.contrib import fasthttp
from locust.contrib.fasthttp import FastRequest, LocustUserAgent

from rushhour.load.connections import ConnectionPool, SSLConnectionPool, shared_context

BLOCK_BYTES: Final = 65_536  # read at once; the stock client reads 4 kB

# What the stock code sends unchanged, so that it needs no parser: no dot segment, nothing to be quoted.
_PLAIN_TARGET: Final = re.compile(r"(?:/[\w~-]+(?:\.[\w~-]+)*)*/?(?:\?[\w~=&-]+)?", re.ASCII).fullmatch
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))
_METHODS: Final = _BODY_METHODS | {"GET", "HEAD", "DELETE", "OPTIONS"}
# The stock code decides by these how it sends.
_DECIDING: Final = frozenset(("host", "content-length", "transfer-encoding", "expect", "proxy-authorization"))
_BROKEN: Final = (errno.ECONNRESET, errno.EPIPE)


class Request(FastRequest):
    """A request whose URL is parsed, and whose headers are copied, when somebody asks for them."""

    def __init__(self, url: str, method: str, headers: dict[str, str], payload: Any) -> None:
        self.url = url
        self.method = method
        self.payload = payload
        self._given: dict[str, str] = headers

    def __getattr__(self, name: str) -> Any:
        given = self.__dict__.pop("_given", None)
        if given is None:
            raise AttributeError(name)
        headers = Headers(HTTPClient.DEFAULT_HEADERS)
        headers.update(given)
        super().__init__(self.url, method=self.method, headers=headers, payload=self.payload)
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a request's head that is the same for all requests to a host."""

    ordinary: bool  # False: only the stock code knows how to send what has these headers
    defaults: Mapping[str, str]  # lines by name in lower case
    first: str  # these lines
    last: str


@cache
def head_for(defaults: tuple[tuple[str, str], ...], host: str, port: int) -> Head:
    """Return what is sent to a host; customers share it."""
    shown = f"[{host}]" if ":" in host and host[0] != "[" and host[-1] != "]" else host
    suffix = "" if port in (80, 443) else f":{port}"
    lines = {name.lower(): f"{name}: {value}\r\n" for name, value in defaults}
    return Head(
        ordinary=not _DECIDING & lines.keys()
        and len(lines) == len(defaults)
        and all(is_field(name, value) for name, value in defaults),
        defaults=lines,
        first="".join(lines.values()),
        last=f"Host: {shown}{suffix}\r\n",
    )


def is_field(name: Any, value: Any) -> bool:
    """Return whether a header can be sent as it is."""
    return bool(isinstance(name, str) and isinstance(value, str) and _TOKEN(name) and _FIELD_VALUE(value))


class Client(HTTPClient):
    """Sends requests to one host."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.block_size = max(self.block_size, BLOCK_BYTES)
        self._head = head_for(tuple(self.default_headers.items()), self.host, self.port)
        self._ordinary = self._head.ordinary and not self.use_proxy and self.version == self.HTTP_11

    def request(self, method: str, request_uri: str, body: Any = b"", headers: Any = None) -> Any:
        """Send a request and return its response; the body of the response may still be on its way."""
        head = self.head_of(method, request_uri, body, headers)
        if head is None:
            return super().request(method, request_uri, body, headers)
        wire = head.encode("latin-1")
        if body:
            wire += body.encode() if isinstance(body, str) else body
        pool = self._connection_pool
        sock = pool.get_socket()
        try:
            sock.sendall(wire)
        except BaseException as error:
            # The server may have answered before it broke the connection: then the answer is what counts.
            if not (isinstance(error, OSError) and error.errno in _BROKEN):
                pool.release_socket(sock)
                raise
        response = HTTPSocketPoolResponse(
            sock, pool, block_size=self.block_size, method=method, headers_type=self.headers_type
        )
        response._sent_request = head
        return response

    def head_of(self, method: str, target: str, body: Any, headers: Any) -> str | None:
        """Return the head of a request as the stock code builds it; None: only the stock code can."""
        if not (
            self._ordinary
            and method in _METHODS
            and target[:1] == "/"
            and _PLAIN_TARGET(target)
            and (body is None or isinstance(body, (str, bytes)))
        ):
            return None
        fixed, own = self._head, {}
        for name, value in headers.items() if headers else ():
            lower = name.lower() if is_field(name, value) else ""
            if not lower or lower in _DECIDING or lower in own:
                return None
            own[lower] = f"{name}: {value}\r\n"
        first = fixed.first
        if not own.keys().isdisjoint(fixed.defaults):  # they stand where the defaults would, as with stock
            first = "".join(own.pop(lower, line) for lower, line in fixed.defaults.items())
        head = f"{method} {target} HTTP/1.1\r\n{first}{''.join(own.values())}{fixed.last}"
        if body:
            size = len(body.encode()) if isinstance(body, str) and not body.isascii() else len(body)
            return f"{head}Content-Length: {size}\r\n\r\n"
        return f"{head}Content-Length: 0\r\n\r\n" if method in _BODY_METHODS else f"{head}\r\n"


class ClientPool(HTTPClientPool):
    """The clients of one customer, one per host."""

    def get_client(self, url: Any) -> Any:
        if isinstance(url, str):
            url = URL(url)
        key = url.host, url.port
        client = self.clients.get(key)
        if client is None:
            client = self.clients[key] = Client.from_url(url, **self.client_args)
        return client


class Agent(LocustUserAgent):
    """Takes the place of Locust's user agent."""

    def __init__(self, client_pool: HTTPClientPool | None = None, **kwargs: Any) -> None:
        super().__init__(client_pool, **kwargs)
        if client_pool is None:
            self.clientpool = ClientPool(**self.clientpool.client_args)
        self._defaults: dict[Any, Any] = {}  # as they were when `_own` was made of them
        self._own: dict[str, Any] = {}  # the locustfile's, without those of the client
        self._origin = ""  # of the last client: "http://127.0.0.1:8000"
        self._client: Client | None = None

    def urlopen(  # type: ignore[override]  # a method of several signatures
        self, url: Any, method: str = "GET", headers: Any = None, payload: Any = None, **others: Any
    ) -> Any:
        """Send a request and follow its redirects. Raises what the stock code raises."""
        if others or self.max_retries or not self._is_ordinary(url, headers, payload):
            return super().urlopen(url, method, headers, payload, **others)
        client = self._client_of(url)
        if client is None:
            return super().urlopen(url, method, headers, payload)
        method = method.upper()
        if not dict.__eq__(self._defaults, self.default_headers):  # the comparison of Headers is slow
            self._note_defaults()
        if self._own:
            headers = {**self._own, **(headers or {})}
        request = Request(url, method, headers or {}, payload)
        began_s = time.monotonic()
        try:
            sent = client.request(method, url[len(self._origin) :] or "/", payload, headers)
            response: Any = self.response_type(sent, request=request, sent_request=sent._sent_request)
        except gevent.GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001  # the stock code decides
            error.request = request  # type: ignore[attr-defined]  # as the stock code does
            last = self._handle_error(error, url=url)
            return self._handle_retries_exceeded(url, last_error=last)
        response._elapsed = time.monotonic() - began_s
        if "set-cookie" in response.headers and self.cookiejar is not None:
            self.cookiejar.extract_cookies(response, request)
        return self._verified(response, request)

    def _note_defaults(self) -> None:
        self._defaults = dict(dict.items(self.default_headers))
        known = HTTPClient.DEFAULT_HEADERS
        self._own = {name: value for name, value in self.default_headers.items() if known.get(name) != value}

    def _is_ordinary(self, url: Any, headers: Any, payload: Any) -> bool:
        if not isinstance(url, str) or (self.cookiejar is not None and has_cookies(self.cookiejar)):
            return False
        if headers is not None and type(headers) is not dict:
            return False
        # The stock code adds a content type where there is none.
        return not payload or (isinstance(payload, (str, bytes)) and "Content-Type" in (headers or ()))

    def _client_of(self, url: str) -> Client | None:
        """Return the client for a URL, if its path can be sent as it is."""
        origin = self._origin
        if not origin or not url.startswith(origin) or not _PLAIN_TARGET(url, len(origin)):
            scheme, _, rest = url.partition("://")
            origin = f"{scheme}://{rest.partition('/')[0]}"
            if scheme not in ("http", "https") or "@" in origin or not _PLAIN_TARGET(url, len(origin)):
                return None
            client = self.clientpool.get_client(origin)
            if not isinstance(client, Client):
                return None  # a pool of the locustfile's own
            self._origin, self._client = origin, client
        return self._client

    def _verified(self, response: Any, request: Request) -> Any:
        status = response.status_code
        try:
            self._verify_status(status, url=request.url)
        except Exception as error:  # noqa: BLE001  # the stock code decides
            error.response = response  # type: ignore[attr-defined]  # as the stock code does
            error.request = request  # type: ignore[attr-defined]
            error.http_log = self._conversation_str(  # type: ignore[attr-defined]
                request.url, response, payload=request.payload
            )
            response.release()
            last = self._handle_error(error, url=request.url)
            return self._handle_retries_exceeded(request.url, last_error=last)
        where = response.headers.get("location") if status in self.redirect_response_codes else None
        if not isinstance(where, str) or not where or self.max_redirects <= 0:
            return response
        response.release()
        try:
            request.redirect(status, where)
        except Exception as error:  # noqa: BLE001  # the stock code decides
            last = self._handle_error(error, url=request.url)
            return self._handle_retries_exceeded(request.url, last_error=last)
        end = super().urlopen(
            request.url,
            request.method,
            request.headers,
            request.payload,
            max_redirects=self.max_redirects - 1,
        )
        end._history = [response, *end._history]
        return end


def has_cookies(jar: CookieJar) -> bool:
    """Return whether a jar holds a cookie; its own `len` walks through all of them."""
    return next(iter(jar), None) is not None


def install() -> None:
    """Make Locust's FastHttpUser use this client."""
    fasthttp.LocustUserAgent = Agent  # type: ignore[misc]
    vars(geventhttpclient.client).update(ConnectionPool=ConnectionPool, SSLConnectionPool=SSLConnectionPool)
    pools.init_ssl_context = shared_context  # type: ignore[assignment]
