"""What an OpenAPI document says of a service beside its routes: its framework, its log-in (pure)."""

import re
from dataclasses import dataclass
from typing import Any, Final

_VERBS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Login:
    """A security scheme of the document; `header` carries what the log-in yields."""

    scheme: str  # its name in the document
    what: str  # "OAuth2 with a password", for a comment
    token_path: str = ""  # where OAuth2's password flow takes a name and a password
    header: str = "Authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class Described:
    """A service as far as its document describes it."""

    asgi: bool = False  # written by FastAPI: uvicorn serves it
    login: Login | None = None


def described(document: dict[str, Any]) -> Described:
    """Return what the document says; a framework is named only where its own marks are there."""
    return Described(is_fastapi(document), login_of(document))


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
