"""Falcon: a cache (dogpile) loads what it misses over a session of its own, one thread at a time."""

import falcon
from dogpile.cache import make_region
from wsgi import CURED, Scoped, Session, text

region = make_region().configure("dogpile.cache.memory", expiration_time=0.3)


@region.cache_on_arguments()
def rates(currency):
    with Session() as own:
        return own.scalar(text("select 1 from pg_sleep(0.02)"))  # named


class Sessions:
    def process_response(self, _request, _response, _resource, _succeeded):
        Scoped.remove()


class Item:
    def on_get(self, _request, response, number):
        row = Scoped.execute(text("select 2")).scalar()  # named
        if CURED:
            Scoped.remove()
        response.media = {"row": row, "rate": rates(number % 7)}


class Health:
    def on_get(self, _request, response):
        response.media = {"ok": True}


app = falcon.App(middleware=[Sessions()])
app.add_route("/item/{number:int}", Item())
app.add_route("/health", Health())
