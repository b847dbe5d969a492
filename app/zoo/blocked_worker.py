"""A cooperative worker (gevent) with a driver that blocks.

The class: gunicorn's gevent or eventlet worker runs a thousand requests in one thread, as long as every
wait yields. psycopg2 waits in C and does not: while one request's query runs, no other moves. The pool is
nearly empty, the server idle, and every answer slow.

Cured: psycopg2 waits through gevent, so requests proceed while others wait for the server.
"""

from flask import Flask, Response
from psycopg2 import extensions
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST

QUERY_S = 0.06  # in the server: too long for one at a time, nothing for twenty at once


def yield_while_waiting(connection: extensions.connection) -> None:
    """For psycopg2: let gevent wait for the socket."""
    from gevent.socket import wait_read, wait_write  # noqa: PLC0415  # only where the worker is gevent's

    while (state := connection.poll()) != extensions.POLL_OK:
        (wait_write if state == extensions.POLL_WRITE else wait_read)(connection.fileno())


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.referrals.engine
    if config.cured:
        extensions.set_wait_callback(yield_while_waiting)

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            session.execute(select(func.pg_sleep(QUERY_S)))
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        return answer_list(customer_id, referrals)

    app.view_functions[LIST] = list_referrals
