"""Starlette: a helper keeps a connection for each thread in a `threading.local`, and nobody gives it back."""

import threading

from asgi_threads import CURED, engine
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

LOCAL = threading.local()


def connection():
    if not hasattr(LOCAL, "connection"):
        LOCAL.connection = engine.connect()  # named
    return LOCAL.connection


def item(request):
    row = connection().execute(text("select 1, pg_sleep(0.02)")).scalar()
    if CURED:
        LOCAL.connection.close()
        del LOCAL.connection
    return JSONResponse({"row": row})


async def health(_request):
    return JSONResponse({"ok": True})


app = Starlette(routes=[Route("/item/{number}", item), Route("/health", health)])
