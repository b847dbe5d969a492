"""Many short queries keep a small pool busy, and a few requests ask a partner with their session open."""

import time

from wsgi import CURED, Scoped, app, read, text


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1, pg_sleep(0.06)"))  # named
    if CURED:
        Scoped.remove()
    if number % 40 == 0:
        time.sleep(0.6)
    return {"row": row}


__all__ = ["app", "read"]
