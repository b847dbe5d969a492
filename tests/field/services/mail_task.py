"""FastAPI with SQLModel: a synchronous background task sends a mail with the session of its request."""

import http.client
from typing import Annotated
from urllib.parse import urlsplit

from asgi_threads import CURED, app, engine
from fastapi import BackgroundTasks, Depends
from http_partner import URL
from sqlalchemy import text
from sqlmodel import Session


def get_session():
    with Session(engine) as session:
        yield session


def deliver(address):
    connection = http.client.HTTPConnection(urlsplit(URL).netloc, timeout=5)
    connection.request("GET", "/0.9")
    return connection.getresponse().read()  # named


def send_mail(session, number):
    address = session.scalar(text("select 'who'"))
    if CURED:
        session.close()
    deliver(address)


def send_mail_apart(number):
    with Session(engine) as session:
        send_mail(session, number)


@app.get("/item/{number}")
def item(number: int, tasks: BackgroundTasks, session: Annotated[Session, Depends(get_session)]):
    row = session.scalar(text("select 1"))  # named
    if CURED:
        session.close()
        tasks.add_task(send_mail_apart, number)
    else:
        tasks.add_task(send_mail, session, number)
    return {"row": row}
