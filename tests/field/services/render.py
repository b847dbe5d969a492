"""A request renders a page on the CPU while its session is open."""

from wsgi import CURED, Scoped, app, read, text


def page(number):
    return sum(value * value % 7 for value in range(700_000))


@app.get("/item/<int:number>")
def item(number):
    row = Scoped.scalar(text("select 1"))  # named
    if CURED:
        Scoped.remove()
    return {"row": row, "page": page(number)}


__all__ = ["app", "read"]
