"""The health path: whether the service reaches both databases."""

from flask import Blueprint, current_app
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.connectors import Connectors
from app.errors import Answer, type_name

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> Answer:
    """Ask both databases, over connections of this function's own and not over a thread's session."""
    connectors = Connectors.of(current_app)
    states = {}
    for name, connector in (("primary", connectors.primary), ("replica", connectors.replica)):
        try:
            with connector.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            states[name] = "ok"
        except SQLAlchemyError as error:
            current_app.logger.warning("health: the %s does not answer", name, exc_info=True)
            states[name] = type_name(error)
    well = set(states.values()) == {"ok"}
    return {"status": "ok" if well else "unavailable", **states}, 200 if well else 503
