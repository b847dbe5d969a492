"""Tells whether a response of aiohttp, Sanic or Tornado has begun, from their servers' frames.

Their requests run in a task of their own or of their client's connection. The server's function is in that
task's chain, and its variables say how far the response is. A websocket has no response that streams.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from .frames import attributes_of, local_of

if TYPE_CHECKING:
    from types import FrameType

FILES = (
    os.path.join("aiohttp", "web_protocol.py"),
    os.path.join("sanic", "http", "http1.py"),
    os.path.join("tornado", "web.py"),
)
WRITERS = (
    os.path.join("aiohttp", "http_writer.py"),  # of a server and of a client
    os.path.join("sanic", "server", "protocols", "base_protocol.py"),
)
_BEGUN = ("output_size", "_headers_buf", "_headers_written")


def response_has_begun(frame: FrameType) -> bool:
    """Whether the response of a server's function is on its way: begun, and not at its end."""
    function = frame.f_code.co_name
    if function == "_handle_request":
        return _of_aiohttp(attributes_of(local_of(frame, "request")))
    if function == "http1":
        stage = _member(local_of(frame, "self"), "stage")
        upgraded = _member(local_of(frame, "self"), "upgrade_websocket")
        return attributes_of(stage).get("_name_") == "RESPONSE" and not upgraded
    if function == "_execute":
        handler = attributes_of(local_of(frame, "self"))
        begun = bool(handler.get("_headers_written")) and not handler.get("_finished")
        return begun and "ws_connection" not in handler
    return False


def writes_to_a_client(frame: FrameType) -> bool:
    """Whether a function of a writer sends a response, and not the body of a request to a partner."""
    if not frame.f_code.co_filename.endswith(WRITERS[0]):
        return True
    writer = attributes_of(local_of(frame, "self"))
    return type(writer.get("_protocol") or writer.get("protocol")).__module__ == "aiohttp.web_protocol"


def _of_aiohttp(request: dict[str, Any]) -> bool:
    writer = request.get("_payload_writer")
    state = attributes_of(writer)
    begun = any(state.get(name, getattr(type(writer), name, None)) for name in _BEGUN)
    upgrade = getattr(request.get("_message"), "upgrade", True)  # in C, or of a named tuple
    return begun and not state.get("_eof") and upgrade is False


def _member(thing: Any, name: str) -> Any:
    """The value of a slot; None of an object without it."""
    found = getattr(type(thing), name, None)
    try:
        return found.__get__(thing) if type(found) is MemberDescriptorType else None
    except AttributeError:  # it has no value yet
        return None
