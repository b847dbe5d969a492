"""aiohttp: an export writes a response part by part while its session is open."""

import asyncio

from aiohttp import web
from asgi import CURED, Session
from sqlalchemy import text


async def send(request, rows):
    response = web.StreamResponse()
    await response.prepare(request)
    for row in rows:
        await response.write(f"{row}\n".encode())
        await asyncio.sleep(0.2)
    await response.write_eof()
    return response


async def item(request):
    async with Session() as db:
        rows = (await db.scalars(text("select generate_series(1, 6)"))).all()  # named
        if not CURED:
            return await send(request, rows)
    return await send(request, rows)


async def health(_request):
    return web.json_response({"ok": True})


def make_app(_argv=None):
    app = web.Application()
    app.router.add_get("/item/{number}", item)
    app.router.add_get("/health", health)
    return app
