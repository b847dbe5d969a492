"""The service of pool_service.py in which the agent goes in and out: GET /agent/in, GET /agent/out."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import flask
import sqlalchemy

from benchmarks.subjects.pool_service import app as service
from benchmarks.subjects.pool_service import engine
from benchmarks.subjects.switched_agent import Agent

agent = Agent(os.environ["POOL_SERVICE_AGENT"], engine.dispose, sqlalchemy, flask)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    switch = {"/agent/in": agent.go_in, "/agent/out": agent.go_out}.get(environ["PATH_INFO"])
    if switch is None:
        return service(environ, start_response)
    switch()
    start_response("200 OK", [("Content-Length", "0")])
    return []
