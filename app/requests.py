"""Reads JSON bodies, and reports all errors of a body at once."""

from typing import Any

from flask import abort, request


def json_body(**fields: type) -> dict[str, Any]:
    """Return the request's JSON object if it has exactly these fields, none empty; else abort with 400."""
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        abort(400, "the body is not a JSON object")
    problems = [f"{name} is not known" for name in body if name not in fields]
    for name, kind in fields.items():
        if name not in body:
            problems.append(f"{name} is missing")
        elif type(body[name]) is not kind:  # not isinstance: JSON's true is no number
            problems.append(f"{name} is not {_KINDS[kind]}")
        elif kind is str and not body[name].strip():
            problems.append(f"{name} is empty")
    if problems:
        abort(400, "; ".join(problems))
    return body


_KINDS = {int: "a whole number", str: "a text"}
