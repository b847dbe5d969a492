"""A request asks its own service over HTTP, with its session open; the other endpoint needs one, too."""

import urllib.request

from flask import request
from wsgi import CURED, Scoped, app, text


@app.get("/price/<int:number>")
def price(number):
    return {"price": Scoped.scalar(text("select 2"))}


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1"))  # named
    if CURED:
        return {"row": row, "price": price(number)}
    address = f"{request.host_url}price/{number}"
    with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310  # named
        return {"row": row, "price": answer.read().decode()}
