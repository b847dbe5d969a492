"""A CSV export reads and renders row after row while its session is open."""

import time

from flask import Response
from wsgi import CURED, Session, app, text


def rows():
    with Session() as db:
        found = db.execute(text("select generate_series(1, 8)"))  # named
        for row in found.all() if CURED else found:
            if CURED:
                db.rollback()
            time.sleep(0.15)
            yield f"{row[0]}\n"


@app.get("/item/<int:number>")
def item(number):
    return Response(rows(), mimetype="text/csv")
