"""A dependency needs a thread of the pool to close its session, and all threads wait for a connection."""

import anyio.to_thread
from asgi_threads import CURED, Session, SyncSession, app
from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import text


async def session():
    anyio.to_thread.current_default_thread_limiter().total_tokens = 16
    db = Session()
    try:
        yield db
    finally:
        await run_in_threadpool(db.close)


@app.get("/item/{number}")
def item(number: int, db: SyncSession = Depends(session)):
    row = db.scalar(text("select 1, pg_sleep(0.02)"))  # named
    if CURED:
        db.close()
    return {"row": row}
