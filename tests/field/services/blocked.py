"""A synchronous driver inside of a coroutine: each query stops the whole event loop."""

from asgi_threads import CURED, Session, app
from sqlalchemy import text


def read():
    with Session() as db:
        return db.scalar(text("select 1 from pg_sleep(0.03)"))  # named


if CURED:

    @app.get("/item/{number}")
    def item(number: int):
        return {"row": read()}

else:

    @app.get("/item/{number}")
    async def item(number: int):
        return {"row": read()}
