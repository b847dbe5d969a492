"""Finds the request that a worker thread of an event loop serves, as in FastAPI for plain functions.

A thread serves one request after another, and what it took for one may be in the hands of others. The context
in which it runs a function says whose request that is.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from contextvars import Context
from typing import TYPE_CHECKING

from .flask_requests import current_request
from .frames import local_of

if TYPE_CHECKING:
    from types import FrameType

    from .book import Request

MAX_THREADS = 100
_MAX_FRAMES = 200
_MAX_WAITING = 6  # frames of libraries in which a coroutine waits for a thread
_IDLE = ("queue.py", "threading.py")
_ANYIO = os.path.join("anyio", "_backends", "_asyncio.py")  # its WorkerThread.run


def waits_for_a_thread(stack: list[FrameType]) -> bool:
    """Return whether a coroutine waits until one of anyio's threads is free."""
    return any(
        frame.f_code.co_name == "acquire_on_behalf_of"
        and f"{os.sep}anyio{os.sep}" in frame.f_code.co_filename
        for frame in stack[:_MAX_WAITING]
    )


def threads_at_work(frames: dict[int, FrameType]) -> list[list[FrameType]]:
    """Return the stacks of anyio's threads, without those that wait for work."""
    found = []
    for frame in list(frames.values())[:MAX_THREADS]:
        stack: list[FrameType] = []
        inner: FrameType | None = frame
        while inner is not None and len(stack) < _MAX_FRAMES:
            if inner.f_code.co_name == "run" and inner.f_code.co_filename.endswith(_ANYIO):
                if any(not item.f_code.co_filename.endswith(_IDLE) for item in stack):
                    found.append(stack)
                break
            stack.append(inner)
            inner = inner.f_back
    return found


def at_work(frames: dict[int, FrameType]) -> dict[Request, list[FrameType]]:
    """Return the stacks of threads that run a function for a request, or for a part of it.

    A background task, and an application within another one, are requests of their own within theirs.
    """
    found: dict[Request, list[FrameType]] = {}
    for frame in list(frames.values())[:MAX_THREADS]:
        stack: list[FrameType] = []
        inner: FrameType | None = frame
        while inner is not None and len(stack) < _MAX_FRAMES:
            code = inner.f_code
            if code.co_name == "run" and code.co_filename.endswith(_ANYIO):
                request = _request_of(inner) if stack else None
                while request is not None:
                    found.setdefault(request, stack)
                    request = request.outer
                break
            stack.append(inner)
            inner = inner.f_back
    return found


def _request_of(frame: FrameType) -> Request | None:
    """By the context in which anyio's thread runs a function; nothing of its variables is kept."""
    context = local_of(frame, "context")
    return context.get(current_request) if type(context) is Context else None
