"""The rows of docs/field.md: ordinary services of classes that public reports are about, with cured twins."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

FOLDER: Final = Path(__file__).parent
SERVICES: Final = FOLDER / "services"
MARK: Final = "# named"  # ends a line that the diagnosis has to name

Server = Literal["uvicorn", "uvloop", "aiohttp", "gthread", "gevent", "preload", "waitress"]
Kit = Literal["asgi", "wsgi", "mixed"]
_ASGI: Final = frozenset[Server](("uvicorn", "uvloop", "aiohttp"))
_COMMANDS: Final[dict[Server, str]] = {
    "uvicorn": "uvicorn {module}:app --host {{host}} --port {{port}} --no-access-log",
    "uvloop": "uvicorn {module}:app --host {{host}} --port {{port}} --no-access-log --loop uvloop",
    "aiohttp": "{{python}} -m aiohttp.web -H {{host}} -P {{port}} {module}:make_app",
    "gthread": "gunicorn {module}:app --bind {{host}}:{{port}} --threads {{threads}} --no-control-socket",
    "preload": "gunicorn {module}:app --bind {{host}}:{{port}} --threads {{threads}} --no-control-socket "
    "--workers 2 --preload",
    "gevent": "gunicorn {module}:app --bind {{host}}:{{port}} --worker-class gevent --no-control-socket",
    "waitress": "waitress-serve --host {{host}} --port {{port}} --threads {{threads}} {module}:app",
}
_SYNCHRONOUS: Final = "postgresql+psycopg2"
_ASYNCHRONOUS: Final = "postgresql+asyncpg"


@dataclass(frozen=True, slots=True)
class Case:
    """One service with one way of going wrong; `causes` are the right names, the best of them first."""

    module: str  # in services/
    server: Server
    causes: tuple[str, ...]
    reports: tuple[str, ...]  # public ones of the class: "owner/repository#number"
    first: str  # what the diagnosis said when the case was written
    scheme: str | None = None  # of another driver than its server's usual one
    packages: Kit | None = None  # other than those of its server
    locustfile: str = "customers.py"
    expect: Literal["exhausted", "degraded"] = "exhausted"
    tables: bool = False  # it needs the table of counters
    users: int = 40
    starts: bool = True  # False: the broken service never answers its health path

    @property
    def name(self) -> str:
        return self.module.replace("_", "-")

    @property
    def environment(self) -> Kit:
        return self.packages or ("asgi" if self.server in _ASGI else "wsgi")

    @property
    def command(self) -> str:
        return _COMMANDS[self.server].format(module=self.module)

    @property
    def url_scheme(self) -> str:
        return self.scheme or (_ASYNCHRONOUS if self.server in _ASGI else _SYNCHRONOUS)

    @property
    def description(self) -> str:
        """The first line of its module."""
        source = (SERVICES / f"{self.module}.py").read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]

    @property
    def lines(self) -> tuple[str, ...]:
        """Those that the diagnosis has to name: `stream.py:17`."""
        source = (SERVICES / f"{self.module}.py").read_text(encoding="utf-8").splitlines()
        return tuple(
            f"{self.module}.py:{number}" for number, line in enumerate(source, 1) if line.endswith(MARK)
        )


CASES: Final = (
    # The first eight were handed to the project with what they are.
    Case(
        "stream",
        "uvicorn",
        ("held-while-streaming",),
        ("onyx-dot-app/onyx#14871", "aegra/aegra#423", "xr843/fojin#649"),
        "held-across-external-wait (possible)",
    ),
    Case(
        "nested",
        "uvicorn",
        ("nested-checkout",),
        ("topoteretes/cognee#4389", "nsidnev/fastapi-realworld-example-app#64"),
        "held-across-external-wait (possible)",
    ),
    Case(
        "slow",
        "uvicorn",
        ("saturation",),
        ("sqlalchemy/sqlalchemy#5308", "discord/access#496"),
        "held-across-external-wait (possible)",
    ),
    Case(
        "jobs",
        "gthread",
        ("scope-never-removed",),
        ("morpheus65535/bazarr#3556", "Netflix/dispatch#3634"),
        "held-across-external-wait (certain)",
    ),
    Case("threads", "gthread", ("unclosed-path",), ("talebook/talebook#283",), "nested-checkout (certain)"),
    Case(
        "logging_handler",
        "gthread",
        ("nested-checkout",),
        ("apache/superset#43007",),
        "held-across-external-wait (certain)",
    ),
    Case(
        "engines",
        "gthread",
        ("server-limit",),
        ("privacyidea/privacyidea#1140",),
        "server-limit (certain), and the agent gave up",
        expect="degraded",
    ),
    Case(
        "partner",
        "gevent",
        ("held-across-external-wait",),
        ("alphagov/notifications-api#1651", "prebid/salesagent#2052"),
        "saturation (possible)",
    ),
    # Found in public reports.
    Case(
        "sse",
        "uvicorn",
        ("held-while-streaming",),
        ("wrzonance/WrzDJ#356",),
        "held-across-external-wait (certain)",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "chat_socket",
        "uvicorn",
        ("held-across-external-wait",),
        ("bluesky/tiled#1172", "vstorm-co/agenticos#12"),
        "held-across-external-wait (likely), without the line of the wait",
        locustfile="visitors.py",
    ),
    Case(
        "background",
        "uvicorn",
        ("held-across-external-wait",),
        ("wrzonance/WrzDJ#505",),
        "held-across-external-wait (likely), without the line of the wait",
    ),
    Case(
        "model",
        "uvicorn",
        ("held-across-external-wait",),
        ("IBM/mcp-context-forge#2518", "open-webui/open-webui#20571"),
        "held-across-external-wait (likely), without the line of the wait",
    ),
    Case("gather", "uvicorn", ("saturation",), ("ZJU-REAL/Polaris#228",), "saturation (certain)"),
    Case(
        "bare_yield",
        "uvicorn",
        ("unclosed-path",),
        ("londonaicentre/FLIP#775",),
        "unclosed-path (likely)",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "next_session",
        "uvicorn",
        ("unclosed-path",),
        ("rsandx/AlphaSuite#10",),
        "unclosed-path (certain)",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "blocked",
        "uvicorn",
        ("blocked-worker",),
        ("open-webui/open-webui#11233",),
        "none (certain)",
        scheme=_SYNCHRONOUS,
        expect="degraded",
    ),
    Case(
        "queue_on_loop",
        "uvicorn",
        ("blocked-worker",),
        ("apache/superset#43007", "xorbitsai/xagent#935"),
        "saturation (possible)",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "hot_row",
        "uvicorn",
        ("own-lock-chain",),
        ("rennf93/roboco#721",),
        "slow-or-dead-backend (possible)",
        tables=True,
    ),
    Case(
        "advisory",
        "uvicorn",
        ("own-lock-chain", "nested-checkout"),
        ("atomsai/contextdb#4", "xang1234/stock-screener#364"),
        "slow-or-dead-backend (possible)",
    ),
    Case(
        "self_lock",
        "gthread",
        ("own-lock-chain", "nested-checkout"),
        ("pycasbin/sqlalchemy-adapter#67",),
        "nested-checkout (likely), one line of two",
        tables=True,
    ),
    Case(
        "middleware",
        "uvicorn",
        ("nested-checkout",),
        ("IBM/mcp-context-forge#1685",),
        "held-across-external-wait (possible)",
    ),
    Case(
        "lock",
        "uvicorn",
        ("held-across-external-wait",),
        ("rennf93/roboco#721",),
        "held-across-external-wait (likely), without the line of the wait",
    ),
    Case(
        "engine_each",
        "uvicorn",
        ("server-limit",),
        ("milwil-2/climb-elo#183", "hackforla/311-data#550"),
        "server-limit (certain)",
        expect="degraded",
    ),
    Case(
        "task", "uvicorn", ("unclosed-path",), ("skyportal/skyportal#1884",), "scope-never-removed (certain)"
    ),
    Case(
        "poller",
        "uvicorn",
        ("held-across-external-wait",),
        ("airas-org/airas#648",),
        "held-across-external-wait (possible), without the line of the wait",
    ),
    Case(
        "scoped_async",
        "uvicorn",
        ("scope-never-removed", "unclosed-path"),
        ("qd-today/qd#636",),
        "unclosed-path (likely)",
    ),
    Case("startup", "uvicorn", ("unclosed-path",), (), "none (possible)", starts=False),
    Case(
        "executor",
        "gthread",
        ("scope-never-removed",),
        ("dchevell/flask-executor#15",),
        "scope-never-removed (likely)",
    ),
    Case("export", "gthread", ("held-while-streaming",), ("xr843/fojin#741",), "abandoned-stream (certain)"),
    Case(
        "listener",
        "gthread",
        ("nested-checkout",),
        ("authup/authup#3539",),
        "nested-checkout (certain), one line of two",
        tables=True,
    ),
    Case(
        "helper_thread",
        "gthread",
        ("nested-checkout",),
        (),
        "held-across-external-wait (certain)",
    ),
    Case(
        "helper_executor",
        "uvloop",
        ("nested-checkout",),
        (),
        "held-across-external-wait (certain)",
        scheme=_SYNCHRONOUS,
    ),
    # Where no cause stands last: what the agent's looks said first, at a few requests.
    Case(
        "detached",
        "uvicorn",
        ("held-across-external-wait",),
        (),
        "held-across-external-wait (certain); at a few requests: leaks",
    ),
    Case("green_helper", "gevent", ("nested-checkout",), (), "held-across-external-wait (certain)"),
    Case("own_worker", "gthread", ("scope-never-removed",), (), "held-across-external-wait (certain)"),
    Case(
        "sync_dependency",
        "uvicorn",
        ("nested-checkout",),
        ("fastapi/fastapi#3205",),
        "holders not seen",
        scheme=_SYNCHRONOUS,
        users=80,
    ),
    Case(
        "two_pools",
        "gthread",
        ("nested-checkout",),
        (),
        "saturation (possible)",
    ),
    Case("job_queue", "uvicorn", ("nested-checkout",), (), "holders seen elsewhere"),
    Case(
        "consumer", "gthread", ("unclosed-path",), (), "holders seen in the queue, at the line of their own"
    ),
    Case(
        "null_pool",
        "gthread",
        ("unclosed-path",),
        (),
        "a leak, which a refused connection outweighed",
        expect="degraded",
    ),
    Case(
        "render",
        "gthread",
        ("held-across-external-wait",),
        (),
        "held-across-external-wait (possible), waiting or computing",
    ),
    Case("backlog", "gthread", ("unclosed-path",), (), "nested-checkout (certain)"),
    Case("lock_class", "gthread", ("nested-checkout",), (), "held-across-external-wait (certain)"),
    Case("given_thread", "gthread", ("held-across-external-wait",), (), "none (possible)"),
    Case("run_sync", "uvicorn", ("blocked-worker",), (), "saturation (possible)", expect="degraded"),
    Case("slots", "uvicorn", ("nested-checkout",), (), "held-across-external-wait (certain)"),
    Case("polling", "uvicorn", ("nested-checkout",), (), "held-across-external-wait (certain)"),
    Case("parts", "aiohttp", ("held-while-streaming",), (), "held-across-external-wait (likely)"),
    Case("tried_lock", "gthread", ("nested-checkout",), (), "held-across-external-wait (likely)"),
    Case("full_queue", "gthread", ("nested-checkout",), (), "held-across-external-wait (possible)"),
    Case(
        "notified",
        "gthread",
        ("held-across-external-wait",),
        ("Aureliolo/synthorg#1444", "MagicStack/asyncpg#813"),
        "saturation (possible)",
    ),
    Case(
        "tried_row",
        "gthread",
        ("own-lock-chain", "held-across-external-wait"),
        ("viewflow/viewflow#161",),
        "held-across-external-wait (certain)",
        tables=True,
    ),
    Case(
        "tried_advisory",
        "uvicorn",
        ("own-lock-chain", "held-across-external-wait"),
        ("lablup/backend.ai-manager#483",),
        "held-across-external-wait (certain)",
    ),
    Case("preloaded", "preload", ("fork-shared",), (), "none (possible)", expect="degraded"),
    # Written to break the diagnosis, of frameworks and libraries that the others do not use.
    Case(
        "litestar_dump",
        "uvicorn",
        ("held-while-streaming",),
        (),
        "held-across-external-wait (possible)",
        packages="mixed",
    ),
    Case(
        "litestar_job",
        "uvicorn",
        ("nested-checkout",),
        (),
        "held-across-external-wait (possible)",
        packages="mixed",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "mail_task",
        "uvicorn",
        ("held-across-external-wait",),
        (),
        "saturation (possible)",
        packages="mixed",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "limiter",
        "uvicorn",
        ("nested-checkout",),
        (),
        "saturation (possible)",
        packages="mixed",
        scheme=_SYNCHRONOUS,
        users=80,
    ),
    Case(
        "self_call",
        "gthread",
        ("held-across-external-wait", "nested-checkout"),
        (),
        "held-across-external-wait (certain)",
        packages="mixed",
    ),
    Case("alru_rates", "uvicorn", ("nested-checkout",), (), "nested-checkout (certain)", packages="mixed"),
    Case(
        "dogpile_loader", "gthread", ("nested-checkout",), (), "nested-checkout (certain)", packages="mixed"
    ),
    Case(
        "charge_row",
        "waitress",
        ("own-lock-chain",),
        (),
        "own-lock-chain (certain)",
        packages="mixed",
        tables=True,
    ),
    Case(
        "local_connection",
        "uvicorn",
        ("scope-never-removed",),
        (),
        "scope-never-removed (certain)",
        packages="mixed",
        scheme=_SYNCHRONOUS,
    ),
    Case(
        "lost_replica",
        "uvicorn",
        ("slow-or-dead-backend",),
        (),
        "slow-or-dead-backend (possible), without the line",
        packages="mixed",
        scheme=_SYNCHRONOUS,
    ),
    Case("actor", "gthread", ("scope-never-removed",), (), "scope-never-removed (certain)", packages="mixed"),
    Case(
        "listeners",
        "gthread",
        ("held-across-external-wait",),
        (),
        "held-across-external-wait (certain)",
        packages="mixed",
    ),
    Case("tenant_limits", "gthread", ("nested-checkout",), (), "slow-or-dead-backend (possible)"),
    Case("torn_down", "gthread", ("scope-never-removed",), (), "unclosed-path (likely)"),
    # Written to break it once more, of asynchronous services alone.
    Case(
        "slow_reader",
        "uvicorn",
        ("abandoned-stream",),
        (),
        "abandoned-stream (certain)",
        locustfile="readers.py",
    ),
    Case(
        "one_session", "uvicorn", ("unclosed-path",), (), "unclosed-path (possible), a shared session named"
    ),
)
