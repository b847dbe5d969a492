"""A path through the code that takes a connection and does not close it.

The class: most requests reach `remove()` or `close()`, and a later change adds a path that does not: an early
return for the empty case, or an exception that an error handler turns into a friendly answer. Sessions are
kept by a registry whose scope is the request, as extensions of Flask keep them, so nothing ever collects
those that were forgotten. One customer in twenty has no referrals and takes that path.

Cured: the session is taken in a `with` block, which closes it on every path.
"""

from collections.abc import Callable
from itertools import count

from flask import Flask, Response, g
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from app import auth
from app.config import Config
from app.connectors import Connectors
from app.referral_list import REFERRALS_OF_CUSTOMER
from app.referrals import answer_list
from app.zoo import LIST


class NothingToListError(Exception):
    """The customer has no referrals yet."""

    def __init__(self, customer_id: int) -> None:
        super().__init__(f"customer {customer_id} has no referrals")
        self.customer_id = customer_id


def sessions_per_request(app: Flask, connectors: Connectors) -> scoped_session[Session]:
    """Return a registry with a session for each request; the code that takes a session must remove it."""
    numbers = count()

    @app.before_request
    def number_the_request() -> None:
        g.number = next(numbers)

    return scoped_session(sessionmaker(connectors.referrals.engine), scopefunc=lambda: g.number)


def install_early_return(app: Flask, connectors: Connectors, config: Config) -> None:
    sessions = sessions_per_request(app, connectors)

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        session = sessions()
        referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        if referrals is None:
            return answer_list(customer_id, None)
        sessions.remove()
        return answer_list(customer_id, referrals)

    app.view_functions[LIST] = _cured(connectors) if config.cured else list_referrals


def install_error_path(app: Flask, connectors: Connectors, config: Config) -> None:
    sessions = sessions_per_request(app, connectors)

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        session = sessions()
        referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
        if referrals is None:
            raise NothingToListError(customer_id)
        sessions.remove()
        return answer_list(customer_id, referrals)

    app.register_error_handler(NothingToListError, lambda error: answer_list(error.customer_id, None))
    app.view_functions[LIST] = _cured(connectors) if config.cured else list_referrals


def _cured(connectors: Connectors) -> Callable[[int], Response]:
    engine = connectors.referrals.engine

    def list_referrals(customer_id: int) -> Response:
        auth.allow(customer_id)
        with Session(engine) as session:
            referrals = session.scalar(REFERRALS_OF_CUSTOMER, {"customer_id": customer_id})
            if referrals is None:
                return answer_list(customer_id, None)
        return answer_list(customer_id, referrals)

    return list_referrals
