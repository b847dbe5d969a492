"""An endpoint waits for a helper in an executor, which opens a session of its own. The loop is uvloop's."""

from concurrent.futures import ThreadPoolExecutor

from asgi_threads import CURED, Session, app
from sqlalchemy import text

executor = ThreadPoolExecutor(40)


def prices():
    with Session() as db:
        return db.scalar(text("select 2"))  # named


@app.get("/item/{number}")
def item(number: int):
    with Session() as db:
        row = db.scalar(text("select 1, pg_sleep(0.05)"))  # named
        if CURED:
            db.close()
        return {"row": row, "price": executor.submit(prices).result()}
