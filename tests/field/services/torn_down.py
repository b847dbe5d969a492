"""A teardown function fails before the one that removes the session comes."""

import time

from flask import g
from wsgi import CURED, Scoped, app, text

SPENT = {"item": 0.0} if CURED else {}


@app.teardown_appcontext
def measure(_error):
    if "began" in g:
        SPENT["item"] += time.monotonic() - g.began


@app.get("/item/<int:number>")
def item(number):
    g.began = time.monotonic()
    return {"row": Scoped.scalar(text("select 1"))}  # named
