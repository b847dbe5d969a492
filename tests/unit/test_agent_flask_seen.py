"""Flask is a framework of the service once it has an application of Flask."""

import inspect
from importlib.metadata import version

import flask

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import FlaskPatch


def test_flask_is_seen_with_its_first_application_and_not_when_another_library_imports_it() -> None:
    book, parameters = Book(), inspect.signature(flask.Flask)
    patch = FlaskPatch(book, Classifier())
    patch.apply(flask)
    try:
        assert "flask" not in book.modules
        flask.Flask("shop")
        assert inspect.signature(flask.Flask) == parameters
        assert book.modules["flask"] == version("flask")
    finally:
        patch.remove()
