"""A request renders what it has read, in Python, before it gives its connection back."""

from wsgi import CURED, Scoped, app, text

ROWS = 20 if CURED else 4000


def page(rows):
    length = 0
    for number, name in rows:
        for position in range(60):
            length += len(f"{name}-{number * position % 97:03d}")  # named
    return length


@app.get("/item/<int:number>")
def item(number):
    query = text("select n, 'product ' || n from generate_series(1, :many) as n")
    rows = [tuple(row) for row in Scoped.execute(query, {"many": ROWS})]  # named
    if CURED:
        Scoped.remove()
    return {"length": page(rows)}
