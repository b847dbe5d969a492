"""`python -m tests.matrix.table`: the rows of docs/matrix.md, as each case was last seen."""

import json
import sys
from collections.abc import Iterator
from typing import Final

from tests.matrix.cases import CASES, Case
from tests.matrix.environments import CACHE

_SERVERS: Final = ("gunicorn", "uvicorn", "waitress", "pyuwsgi", "werkzeug", "gevent", "eventlet")
_FRAMEWORKS: Final = {"Flask": "flask", "Flask-SQLAlchemy": "flask-sqlalchemy", "FastAPI": "fastapi"}
_DRIVERS: Final = {
    "psycopg2": "psycopg2-binary",
    "psycopg async": "psycopg",
    "PyMySQL": "pymysql",
}


def rows() -> Iterator[str]:
    """One per case; a case that has not passed on this machine says so."""
    yield "| Python | SQLAlchemy | driver | service | server | processes | check-outs | leaks | endpoint |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for number, case in enumerate(CASES):
        [path, *_] = [*(CACHE / "seen").glob(f"*-{number:02}.json"), None]
        yield row(case, None if path is None else json.loads(path.read_text()))


def row(case: Case, seen: dict[str, object] | None) -> str:
    if seen is None:
        return (
            f"| {case.python or ''} | {case.sqlalchemy} | {case.driver} | {case.framework} | {case.server} "
            "| not measured | | | |"
        )
    versions = seen["versions"]
    assert isinstance(versions, dict)

    def named(text: str, package: str) -> str:
        return f"{text} {versions[package]}" if package in versions else text

    programs = [name for name in _SERVERS if name in case.server.lower()] or ["pyuwsgi"]
    if case.server.startswith("flask"):
        programs = ["werkzeug"]
    server = f"{case.server} ({', '.join(named(name, name) for name in programs)})"
    cells = (
        str(seen["python"]),
        str(versions["sqlalchemy"]),
        named(case.driver, _DRIVERS.get(case.driver, case.driver.lower())),
        named(case.framework, _FRAMEWORKS.get(case.framework, case.framework.lower())),
        server,
        str(seen["processes"]),
        str(seen["checkouts"]),
        str(seen["leaks"]),
        f"`{seen['endpoint']}`" if seen["endpoint"] else "not known",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in rows()))
