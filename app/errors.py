"""Every error is answered as JSON; what nobody expected is also logged with its traceback."""

import sys
from typing import Any

from flask import Flask, current_app
from werkzeug.exceptions import HTTPException

Answer = tuple[dict[str, Any], int]


def register(app: Flask) -> None:
    """Make the application answer errors this way."""
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(Exception, _failed)


def type_name(error: BaseException) -> str:
    """Such as `sqlalchemy.exc.TimeoutError`."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _refused(error: HTTPException) -> Answer:
    return {"error": error.description}, error.code or 500


def _failed(error: Exception) -> Answer:
    current_app.log_exception(sys.exc_info())
    return {"error": "internal server error", "type": type_name(error)}, 500
