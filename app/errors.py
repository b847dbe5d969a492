"""Answers every error as JSON, and logs unexpected errors with their traceback."""

import sys
from typing import Any

from flask import Flask, current_app
from werkzeug.exceptions import HTTPException

Answer = tuple[dict[str, Any], int]


def register(app: Flask) -> None:
    """Register the error handlers with the application."""
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(Exception, _failed)


def type_name(error: BaseException) -> str:
    """Answer an unexpected error, such as `sqlalchemy.exc.TimeoutError`, with 500."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _refused(error: HTTPException) -> Answer:
    return {"error": error.description}, error.code or 500


def _failed(error: Exception) -> Answer:
    current_app.log_exception(sys.exc_info())
    return {"error": "internal server error", "type": type_name(error)}, 500
