"""One session routed over both servers: it holds a connection of each until it ends.

The class: `Session.get_bind` sends reads to the replica and the rest to the primary. A request that touched
both holds a connection of the primary while it waits for the replica, so a replica that stalls fills the
primary's pool, and routes that do not use the replica time out.

Cured: a session for each server, the primary's ended before the replica is asked, and bounded waits.
"""

from typing import Any

from flask import Flask, Response, abort
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.models import Customer
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST
from app.zoo.bounded import bound_every_wait
from app.zoo.slow_or_dead_backend import PATIENCE_S, bounded_list


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    primary, replica = connectors.primary.engine, connectors.replica.engine

    class RoutedSession(Session):
        """The list is read from the replica, everything else from the primary."""

        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Engine:  # noqa: ARG002  # the library's
            return replica if clause is REFERRALS_OF_CUSTOMER else primary

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with RoutedSession() as session:
            if session.get(Customer, customer_id) is None:
                abort(404, f"no customer {customer_id}")
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        return answer_list(customer_id, referrals)

    if config.cured:
        bound_every_wait(PATIENCE_S)
        list_bounded = bounded_list(connectors)

        def cured(customer_id: int) -> Response:
            auth.allow(customer_id)
            with Session(primary) as session:
                if session.get(Customer, customer_id) is None:
                    abort(404, f"no customer {customer_id}")
            return list_bounded(customer_id)

        app.view_functions[LIST] = cured
    else:
        app.view_functions[LIST] = list_referrals
