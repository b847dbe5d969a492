"""Log-in, and the tokens it issues. Calls without a token are allowed; a token has to fit the customer."""

from flask import Blueprint, abort, current_app, g, request
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from app.connectors import Connectors
from app.errors import Answer
from app.models import Customer
from app.requests import json_body

TOKEN_MAX_AGE_S = 24 * 3600

blueprint = Blueprint("auth", __name__)


@blueprint.post("/login")
def login() -> Answer:
    """Issue a token to a customer who exists."""
    customer_id = json_body(customer_id=int)["customer_id"]
    customer = Connectors.of(current_app).primary.session.get(Customer, customer_id)
    if customer is None:
        abort(404, f"no customer {customer_id}")
    return {"token": _tokens().dumps(customer.id), "display_name": customer.display_name}, 200


@blueprint.before_app_request
def read_token() -> None:
    """Remember whose token came with the request. Aborts with 401 when this service did not issue it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    g.token_of = None
    if scheme.lower() == "bearer":
        try:
            g.token_of = _tokens().loads(token, max_age=TOKEN_MAX_AGE_S)
        except SignatureExpired:
            abort(401, "the token has expired; log in again")
        except BadSignature:
            abort(401, "the token is not valid")


def allow(customer_id: int) -> None:
    """Abort with 403 when the request came with another customer's token."""
    if g.token_of not in (None, customer_id):
        abort(403, "the token is another customer's")


def _tokens() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="log-in")
