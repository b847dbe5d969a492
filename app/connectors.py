"""How the service reaches its databases."""

from dataclasses import dataclass
from typing import Self

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker


class Connector:
    """One database: an engine with its pool, and a session per thread that lasts until it is released."""

    def __init__(self, url: str, pool_size: int, max_overflow: int, pool_timeout_s: float) -> None:
        self.engine = create_engine(
            url, pool_size=pool_size, max_overflow=max_overflow, pool_timeout=pool_timeout_s
        )
        self._sessions = scoped_session(sessionmaker(self.engine))

    @property
    def session(self) -> Session:
        """This thread's session."""
        return self._sessions()

    def release(self, _error: BaseException | None = None) -> None:
        """Close this thread's session, if it has one, and give its connection back to the pool."""
        self._sessions.remove()


@dataclass(frozen=True, slots=True)
class Connectors:
    """Both databases, and the one that a customer's list of referrals is read from in this release."""

    primary: Connector
    replica: Connector
    referrals: Connector

    @classmethod
    def of(cls, app: Flask) -> Self:
        """Returns the connectors that the factory gave to this application."""
        found = app.extensions["connectors"]
        assert isinstance(found, cls)  # noqa: S101  # narrows the type: extensions hold anything
        return found
