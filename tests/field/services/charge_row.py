"""Pyramid under waitress: SELECT ... FOR UPDATE on an account is held while a payment provider is asked."""

import urllib.request

from http_partner import URL
from pyramid.config import Configurator
from pyramid.response import Response
from wsgi import CURED, Session, text

LOCKED = text("select value from counters where id = :id for update")
PAID = text("update counters set value = value + 1 where id = :id")


def charge(account):
    return urllib.request.urlopen(f"{URL}/0.3").read()  # noqa: S310  # named


def item(request):
    account = int(request.matchdict["number"]) % 2
    if CURED:
        charge(account)
        account = int(request.matchdict["number"])
    with Session.begin() as session:
        session.execute(LOCKED, {"id": account})  # named
        if not CURED:
            charge(account)
        session.execute(PAID, {"id": account})
    return Response(json={"ok": True})


def health(_request):
    return Response(json={"ok": True})


config = Configurator()
config.add_route("item", "/item/{number}")
config.add_route("health", "/health")
config.add_view(item, route_name="item")
config.add_view(health, route_name="health")
app = config.make_wsgi_app()
