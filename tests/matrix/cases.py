"""The rows of docs/matrix.md: each value of each axis appears, not each pair of them."""

from dataclasses import dataclass
from typing import Final

from tests.matrix.services import ASGI, FASTAPI, FLASK, FLASK_SQLALCHEMY, STARLETTE, WSGI

SERVICES: Final = {
    "Flask": FLASK,
    "Flask-SQLAlchemy": FLASK_SQLALCHEMY,
    "plain WSGI": WSGI,
    "FastAPI": FASTAPI,
    "Starlette": STARLETTE,
    "plain ASGI": ASGI,
}
ROUTELESS: Final = frozenset({"plain WSGI", "plain ASGI"})
_PACKAGES: Final = {
    "Flask": ("flask",),
    "Flask-SQLAlchemy": ("flask", "flask-sqlalchemy"),
    "plain WSGI": (),
    "FastAPI": ("fastapi",),
    "Starlette": ("starlette",),
    "plain ASGI": (),
    "psycopg2": ("psycopg2-binary",),
    "psycopg": ("psycopg[binary]",),
    "psycopg async": ("psycopg[binary]",),
    "asyncpg": ("asyncpg",),
    "PyMySQL": ("pymysql",),
    "SQLite": (),
    "aiosqlite": ("aiosqlite",),
}
_GUNICORN: Final = (
    "{bin}/gunicorn service:app --bind 127.0.0.1:{port} --no-control-socket --graceful-timeout 1"
)
_UWSGI: Final = "{bin}/uwsgi --http-socket 127.0.0.1:{port} --module service:app --master --processes 2 "
_UWSGI_ENDS: Final = "--enable-threads --die-on-term --need-app"
_UVICORN: Final = "{bin}/uvicorn service:app --port {port}"
# server -> its packages, its command, its processes that serve
_SERVERS: Final = {
    "gunicorn sync": (("gunicorn",), _GUNICORN, 1),
    "gunicorn sync, reload": (("gunicorn",), f"{_GUNICORN} --reload --reload-engine poll", 1),
    "gunicorn gthread": (("gunicorn",), f"{_GUNICORN} --threads 4", 1),
    "gunicorn gthread, two workers": (("gunicorn",), f"{_GUNICORN} --threads 4 --workers 2", 2),
    "gunicorn gthread, two workers, preload": (
        ("gunicorn",),
        f"{_GUNICORN} --threads 4 --workers 2 --preload",
        2,
    ),
    "gunicorn gevent": (("gunicorn[gevent]",), f"{_GUNICORN} --worker-class gevent", 1),
    "gunicorn eventlet": (("gunicorn<26", "eventlet"), f"{_GUNICORN} --worker-class eventlet", 1),
    "gunicorn, two uvicorn workers": (
        ("gunicorn", "uvicorn", "uvicorn-worker"),
        f"{_GUNICORN} --workers 2 --worker-class uvicorn_worker.UvicornWorker",
        2,
    ),
    "uvicorn": (("uvicorn[standard]",), _UVICORN, 1),
    "uvicorn, two workers": (("uvicorn",), f"{_UVICORN} --workers 2", 2),
    "uvicorn, reload": (("uvicorn",), f"{_UVICORN} --reload --reload-delay 0.1", 1),
    "waitress": (("waitress",), "{bin}/waitress-serve --listen 127.0.0.1:{port} service:app", 1),
    "uWSGI, two processes": (("pyuwsgi",), _UWSGI + _UWSGI_ENDS, 2),
    "uWSGI, two processes, lazy-apps": (("pyuwsgi",), f"{_UWSGI}--lazy-apps {_UWSGI_ENDS}", 2),
    "flask run": ((), "{bin}/flask --app service run --port {port}", 1),
    "flask run, reload": ((), "{bin}/flask --app service --debug run --port {port}", 1),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One environment, one service, one server.

    `sqlalchemy` is a version to which pip's == applies; `python` is the version of another interpreter than
    the one that runs the tests.
    """

    sqlalchemy: str
    driver: str
    framework: str
    server: str
    python: str | None = None

    @property
    def name(self) -> str:
        python = "" if self.python is None else f", Python {self.python}"
        return f"{self.sqlalchemy} {self.driver}, {self.framework}, {self.server}{python}"

    @property
    def packages(self) -> tuple[str, ...]:
        """What its environment holds, as pip reads it."""
        extra = "[asyncio]" if self.is_async else ""
        own = (*_PACKAGES[self.driver], *_PACKAGES[self.framework], *_SERVERS[self.server][0])
        return (f"sqlalchemy{extra}=={self.sqlalchemy}", *own)

    @property
    def is_async(self) -> bool:
        return self.framework in {"FastAPI", "Starlette", "plain ASGI"}

    @property
    def service(self) -> str:
        return SERVICES[self.framework]

    @property
    def command(self) -> str:
        return _SERVERS[self.server][1]

    @property
    def workers(self) -> int:
        return _SERVERS[self.server][2]

    @property
    def reloads(self) -> bool:
        return self.server.endswith(", reload")


CASES: Final = (
    Case("1.4.24", "psycopg2", "Flask", "gunicorn gthread"),  # the oldest that the agent takes
    Case("1.4.*", "psycopg2", "Flask", "gunicorn sync"),
    Case("1.4.*", "PyMySQL", "plain WSGI", "gunicorn sync"),
    Case("1.4.*", "asyncpg", "Starlette", "uvicorn, two workers"),
    Case("2.0.*", "psycopg2", "Flask-SQLAlchemy", "gunicorn gthread, two workers"),
    Case("2.0.*", "PyMySQL", "Flask-SQLAlchemy", "waitress"),
    Case("2.0.*", "SQLite", "plain WSGI", "waitress"),
    Case("2.0.*", "SQLite", "Flask", "uWSGI, two processes, lazy-apps"),
    Case("2.0.*", "asyncpg", "FastAPI", "uvicorn"),
    Case("2.1.*", "psycopg", "Flask", "gunicorn gthread, two workers, preload"),
    Case("2.1.*", "psycopg", "Flask", "gunicorn gevent"),
    Case("2.1.*", "PyMySQL", "Flask", "gunicorn gevent"),
    Case("2.1.*", "SQLite", "Flask", "gunicorn sync, reload"),
    Case("2.1.*", "SQLite", "Flask", "flask run, reload"),
    Case("2.1.*", "psycopg2", "plain WSGI", "gunicorn gthread"),
    Case("2.1.*", "psycopg2", "plain WSGI", "gunicorn eventlet"),
    Case("2.1.*", "SQLite", "plain WSGI", "gunicorn gevent"),
    Case("2.1.*", "psycopg2", "Flask", "uWSGI, two processes"),
    Case("2.1.*", "psycopg", "plain WSGI", "uWSGI, two processes"),
    Case("2.1.*", "psycopg async", "Starlette", "gunicorn, two uvicorn workers"),
    Case("2.1.*", "aiosqlite", "FastAPI", "uvicorn, reload"),
    Case("2.1.*", "asyncpg", "plain ASGI", "uvicorn"),
    Case("2.1.*", "psycopg", "Flask", "gunicorn gthread", "3.13"),
    Case("2.1.*", "asyncpg", "FastAPI", "uvicorn", "3.13"),
    Case("2.1.*", "psycopg", "Flask", "gunicorn gthread", "3.14"),
    Case("2.1.*", "asyncpg", "FastAPI", "uvicorn", "3.14"),
)
