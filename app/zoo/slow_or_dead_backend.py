"""A server that does not answer: paused, killed, cut off from the network, or locked by a migration.

The class: the code sets no time-outs. Each request waits for an answer, with its connection, until TCP gives
up, and soon all connections are held.

Cured: every wait has a time-out; a server that failed is not asked for a while; the other server is asked,
and if neither answers, the customer gets an empty list that says so.
"""

import time
from collections.abc import Callable

from flask import Flask, Response, current_app
from sqlalchemy import exc
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connector, Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST
from app.zoo.bounded import bound_every_wait

PATIENCE_S = 0.2  # an answer takes 3 to 30 ms, and whoever queues for a connection waits for several of these
LEFT_ALONE_S = 30.0


class Breaker:
    """Remembers which connectors failed recently."""

    def __init__(self) -> None:
        self._closed_at: dict[Connector, float] = {}

    def allows(self, connector: Connector) -> bool:
        return time.monotonic() >= self._closed_at.get(connector, 0.0)

    def failed(self, connector: Connector) -> None:
        self._closed_at[connector] = time.monotonic() + LEFT_ALONE_S


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    if config.cured:
        bound_every_wait(PATIENCE_S)
        app.view_functions[LIST] = bounded_list(connectors)
    else:
        app.view_functions[LIST] = trusting_list(connectors)


def trusting_list(connectors: Connectors) -> Callable[[int], Response]:
    engine = connectors.referrals.engine

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        return answer_list(customer_id, referrals)

    return list_referrals


def bounded_list(connectors: Connectors) -> Callable[[int], Response]:
    breaker = Breaker()

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        for connector in (connectors.replica, connectors.primary):
            if not breaker.allows(connector):
                continue
            try:
                with Session(connector.engine) as session:
                    referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            except (exc.DBAPIError, exc.TimeoutError):
                current_app.logger.warning("a server fails; it is left alone for %g s", LEFT_ALONE_S)
                breaker.failed(connector)
            else:
                return answer_list(customer_id, referrals)
        answer = answer_list(customer_id, None)
        answer.headers["X-Partial"] = "yes"
        return answer

    return list_referrals
