"""What an OpenAPI document says of a service beside its routes: its framework, its log-in (pure)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_VERBS: Final = ("get", "post", "put", "patch", "delete")
_NO_PARAMETERS: Final = ("accept", "content-type", "authorization")  # OpenAPI ignores such headers


@dataclass(frozen=True, slots=True)
class Login:
    """A security scheme of the document; `header` carries what the log-in yields."""

    scheme: str  # its name in the document
    what: str  # "OAuth2 with a password", for a comment
    token_path: str = ""  # where OAuth2's password flow takes a name and a password
    header: str = "Authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class Needed:
    """A parameter outside of the path without which a request is refused."""

    name: str
    header: bool  # else it is in the query
    value: str  # of the document; "FILL IN" or 1 where it gives none


@dataclass(frozen=True, slots=True)
class Described:
    """A service as far as its document describes it."""

    asgi: bool = False  # written by FastAPI: uvicorn serves it
    login: Login | None = None
    needed: Mapping[tuple[str, str], tuple[Needed, ...]] = field(default_factory=dict)  # path, "GET"


def described(document: dict[str, Any]) -> Described:
    """Return what the document says; a framework is named only where its own marks are there."""
    return Described(is_fastapi(document), login_of(document), needed_of(document))


def is_fastapi(document: dict[str, Any]) -> bool:
    """Look for FastAPI's own schema of a refused request, or its way of naming every operation."""
    components = document.get("components")
    schemas = components.get("schemas") if isinstance(components, dict) else None
    if isinstance(schemas, dict) and "HTTPValidationError" in schemas:
        return True
    marks = [
        str(operation.get("operationId", "")).endswith(re.sub(r"\W", "_", f"{path}_{verb}"))
        for path, operations in document.get("paths", {}).items()
        if isinstance(operations, dict)
        for verb, operation in operations.items()
        if verb in _VERBS and isinstance(operation, dict)
    ]
    return bool(marks) and all(marks)


def needed_of(document: dict[str, Any]) -> dict[tuple[str, str], tuple[Needed, ...]]:
    """Return the required parameters of each path and method, but for those in the path."""
    found: dict[tuple[str, str], tuple[Needed, ...]] = {}
    for path, operations in document.get("paths", {}).items():
        for verb, operation in operations.items() if isinstance(operations, dict) else ():
            if verb in _VERBS and isinstance(operation, dict):
                # An operation's parameter replaces that of its path with the same name and place.
                given = {
                    (str(parameter.get("name", "")), str(parameter.get("in"))): parameter
                    for owner in (operations, operation)
                    for parameter in _parameters(document, owner)
                }
                needed = tuple(
                    Needed(name, place == "header", _value(parameter))
                    for (name, place), parameter in given.items()
                    if parameter.get("required") is True
                    and (place == "query" or (place == "header" and name.lower() not in _NO_PARAMETERS))
                )
                if needed:
                    found[str(path), verb.upper()] = needed
    return found


def _parameters(document: dict[str, Any], owner: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parameters of an operation or a path; references are followed within the document."""
    given = owner.get("parameters")
    for item in given if isinstance(given, list) else ():
        found: Any = item
        if isinstance(item, dict) and isinstance(item.get("$ref"), str):
            found = _referred(document, item["$ref"])
        if isinstance(found, dict):
            yield found


def _referred(document: dict[str, Any], reference: str) -> Any:
    """Return what "#/components/parameters/tenant" refers to; None if it is not in the document."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _value(parameter: dict[str, Any]) -> str:
    """Return the value that the document shows for a parameter, else a number for a number, else FILL IN."""
    schema: Any = parameter.get("schema")
    kinds: list[dict[str, Any]] = [parameter, schema] if isinstance(schema, dict) else [parameter]
    for kind in kinds:
        listed = [
            kind[key][0] for key in ("enum", "examples") if isinstance(kind.get(key), list) and kind[key]
        ]
        for value in (kind.get("example"), kind.get("default"), *listed):
            if isinstance(value, bool):
                return str(value).lower()
            if isinstance(value, str | int | float):
                return str(value)
    takes = next((str(kind["type"]) for kind in kinds if "type" in kind), "")
    return {"integer": "1", "number": "1", "boolean": "true"}.get(takes, "FILL IN")


def login_of(document: dict[str, Any]) -> Login | None:
    """Return the first security scheme that customers could use; None where the document has none."""
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    schemes = schemes or document.get("securityDefinitions")  # OpenAPI 3 and 2
    for name, scheme in schemes.items() if isinstance(schemes, dict) else ():
        if isinstance(scheme, dict):
            return _login(str(name), scheme)
    return None


def _login(name: str, scheme: dict[str, Any]) -> Login:
    login = Login(name, str(scheme.get("type", "an unknown scheme")))
    match scheme:
        case {"type": "oauth2", "flows": {"password": {"tokenUrl": str(url)}}} | {
            "type": "oauth2",
            "flow": "password",
            "tokenUrl": str(url),
        }:
            path = url if "//" in url else f"/{url.lstrip('/')}"
            login = Login(name, "OAuth2 with a password", path)
        case {"type": "basic"} | {"type": "http", "scheme": "basic" | "Basic"}:
            login = Login(name, "HTTP basic", prefix="Basic ")
        case {"type": "http", "scheme": str(kind)}:
            login = Login(name, f"HTTP {kind}", prefix=f"{kind.capitalize()} ")
        case {"type": "apiKey", "in": "header", "name": str(header)}:
            login = Login(name, f"a key in the header {header}", header=header, prefix="")
        case {"type": "apiKey", "in": str(place), "name": str(key)}:
            header = "Cookie" if place == "cookie" else ""
            login = Login(name, f"a key in the {place} {key}", header=header, prefix=f"{key}=")
    return login
