"""Responses of aiohttp, Sanic and Tornado, read from the frames of their servers."""

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.coroutines import chain_of
from rushhour.agent.looks import SENDING, STREAMING
from rushhour.agent.standing import ELSEWHERE, Reader, Standing
from tests.unit.standing_subject import DEADLINE_S, an_owner, compiled, counts_of, during, pauses
from tests.unit.test_agent_doing import FakePool, a_hold

AIOHTTP = "/venv/site-packages/aiohttp/"
SANIC = "/venv/site-packages/sanic/"
AIOHTTPS_TASK = compiled(
    "async def _handle_request(self, request, start_time, request_handler):\n"
    "    return await request_handler()\n",
    f"{AIOHTTP}web_protocol.py",
    "_handle_request",
)
AIOHTTPS_WRITE = compiled(
    "async def write(self, wait):\n    await wait()\n", f"{AIOHTTP}http_writer.py", "write"
)
SANICS_TASK = compiled(
    "async def http1(self, handler):\n    await handler()\n", f"{SANIC}http/http1.py", "http1"
)
TORNADOS_TASK = compiled(
    "async def _execute(self, method):\n    await method()\n",
    "/venv/site-packages/tornado/web.py",
    "_execute",
)
SANICS_SEND = compiled(
    "async def send(wait):\n    await wait()\n", f"{SANIC}server/protocols/base_protocol.py", "send"
)


def waits() -> Awaitable[None]:
    """As a server waits, with no line of the service further in."""
    return asyncio.sleep(DEADLINE_S)


class Message(NamedTuple):
    upgrade: bool = False


class Protocol:
    """A server's or a client's side of a connection, by the module of its class."""


class ServersProtocol(Protocol):
    """aiohttp's for its server."""


ServersProtocol.__module__ = "aiohttp.web_protocol"


class Writer:
    """aiohttp's, as far as the agent reads it."""

    output_size = 0
    _eof = False
    _headers_buf = None

    def __init__(self, protocol: Protocol | None = None, **state: Any) -> None:
        self._protocol = protocol or ServersProtocol()
        vars(self).update(state)


class AiohttpRequest:
    def __init__(self, writer: Writer, upgrade: bool = False) -> None:
        self._payload_writer = writer
        self._message = Message(upgrade)


class Stage(enum.Enum):
    HANDLER = 3
    RESPONSE = 4


class SanicHttp:
    """Sanic's, whose attributes are slots."""

    __slots__ = ("stage", "upgrade_websocket")

    def __init__(self, stage: Stage, upgrade_websocket: bool = False) -> None:
        self.stage, self.upgrade_websocket = stage, upgrade_websocket


def standing_in(work: Callable[[], Awaitable[Any]]) -> Standing:
    """What a task in `work` does, as another thread reads it."""
    found: list[Standing] = []
    during(work, lambda task: found.append(Reader(Classifier()).read(chain_of(task).frames)))
    return found[0]


def of_aiohttp(writer: Writer, upgrade: bool = False) -> Standing:
    return standing_in(lambda: AIOHTTPS_TASK(None, AiohttpRequest(writer, upgrade), None, pauses))


@pytest.mark.parametrize("state", [{"output_size": 170}, {"_headers_buf": b"HTTP/1.1 200 OK"}])
def test_an_aiohttp_response_streams_from_its_headers_on(state: dict[str, Any]) -> None:
    found = of_aiohttp(Writer(**state))
    assert (found.what, found.streams) == (ELSEWHERE, True)


@pytest.mark.parametrize(
    ("writer", "upgrade"),
    [
        pytest.param(Writer(), False, id="not begun"),
        pytest.param(Writer(output_size=170, _eof=True), False, id="at its end"),
        pytest.param(Writer(output_size=170), True, id="a websocket"),
    ],
)
def test_what_has_not_begun_or_has_ended_or_is_a_websocket_does_not_stream(
    writer: Writer, upgrade: bool
) -> None:
    assert not of_aiohttp(writer, upgrade).streams


@pytest.mark.parametrize(("protocol", "sends"), [(ServersProtocol(), True), (Protocol(), False)])
def test_aiohttps_writer_sends_to_a_client_if_it_is_the_servers(protocol: Protocol, sends: bool) -> None:
    writer = Writer(protocol, output_size=170)

    async def handler() -> None:
        await AIOHTTPS_WRITE(writer, waits)

    found = standing_in(lambda: AIOHTTPS_TASK(None, AiohttpRequest(Writer(output_size=1)), None, handler))
    assert (found.sends, found.streams) == (sends, True)


@pytest.mark.parametrize(
    ("http", "streams"),
    [
        (SanicHttp(Stage.RESPONSE), True),
        (SanicHttp(Stage.HANDLER), False),
        (SanicHttp(Stage.RESPONSE, upgrade_websocket=True), False),
    ],
)
def test_a_sanic_response_streams_in_its_stage(http: SanicHttp, streams: bool) -> None:
    assert standing_in(lambda: SANICS_TASK(http, pauses)).streams is streams


@pytest.mark.parametrize(
    ("state", "streams"),
    [
        ({"_headers_written": True, "_finished": False}, True),
        ({"_headers_written": False, "_finished": False}, False),
        ({"_headers_written": True, "_finished": True}, False),
        ({"_headers_written": True, "_finished": False, "ws_connection": object()}, False),
    ],
)
def test_a_tornado_response_streams_from_its_headers_to_its_end(state: dict[str, Any], streams: bool) -> None:
    class Handler:
        """Tornado's, as far as the agent reads it."""

    handler = Handler()
    vars(handler).update(state)
    assert standing_in(lambda: TORNADOS_TASK(handler, pauses)).streams is streams


def test_sanics_protocol_sends_to_a_client() -> None:
    assert standing_in(lambda: SANICS_TASK(SanicHttp(Stage.RESPONSE), lambda: SANICS_SEND(waits))).sends


def test_holders_are_seen_to_stream_and_to_send_below_a_task_that_their_request_waits_for() -> None:
    async def part() -> None:
        await asyncio.shield(asyncio.create_task(pauses()))

    seen: list[dict[str, int]] = []

    def look(task: asyncio.Task[Any]) -> None:
        hold = a_hold(Book(), FakePool(), None, 0, 1.0)
        hold.owner = an_owner(task)
        seen.append(counts_of([hold]))

    request = AiohttpRequest(Writer(output_size=170))
    during(lambda: AIOHTTPS_TASK(None, request, None, part), look)
    unread = Writer(output_size=170)
    during(lambda: AIOHTTPS_TASK(None, request, None, lambda: AIOHTTPS_WRITE(unread, waits)), look)
    assert [(counts[STREAMING], counts[SENDING]) for counts in seen] == [(1, 0), (0, 1)]
