"""Words advice for the service's own framework and lines (pure)."""

from typing import Final

from rushhour.diagnosis import scope_never_removed, shared_session, unclosed_path
from rushhour.diagnosis.findings import Finding
from rushhour.diagnosis.leaks import LeakSignals
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.rundir import History

FLASK, FLASK_SQLALCHEMY, FASTAPI, STARLETTE = "flask", "flask_sqlalchemy", "fastapi", "starlette"
_FIRST: Final = (
    FASTAPI,
    STARLETTE,
    FLASK_SQLALCHEMY,
    FLASK,
)  # the first of these that the leaking process has


def fix_of(finding: Finding, signals: Signals, history: History) -> str:
    """Return the fix of a finding; for a leak it begins with what to write where."""
    leak = signals.leak
    if leak is None or finding.cause not in (scope_never_removed.CAUSE, unclosed_path.CAUSE):
        return finding.fix
    if shared_session.may_explain(signals):
        return f"{shared_session.FIX} {finding.fix}"
    framework = _framework(leak, history)
    scoped = finding.cause == scope_never_removed.CAUSE
    if leak.shared_by_tasks:
        return finding.fix
    if leak.mostly_idle or (leak.endpoint is None and leak.lost):
        there = _in_job(leak, framework, scoped=scoped)
    else:
        there = _in_request(leak, framework, scoped=scoped)
    if _mostly_by_tasks(leak, history):
        there = f"{there} {_ASYNCHRONOUS}"
    return f"{there} {finding.fix}"


def _mostly_by_tasks(leak: LeakSignals, history: History) -> bool:
    """Return whether tasks of an event loop took most of what was out too long at the leaking line."""
    by_tasks = [out.by_task for out in history.checkouts if out.site == leak.site]
    return sum(by_tasks) * 2 > len(by_tasks)


def _framework(leak: LeakSignals, history: History) -> str | None:
    """Return the framework of the processes in which connections leaked."""
    pids = {out.pid for out in history.checkouts if out.site == leak.site}
    seen = {
        name
        for process in history.processes
        if process.pid in pids
        for name in _FIRST
        if getattr(process, name)
    }
    return next((name for name in _FIRST if name in seen), None)


def _in_job(leak: LeakSignals, framework: str | None, *, scoped: bool) -> str:
    if framework == FLASK_SQLALCHEMY:
        return (
            f"In the job that takes a connection at {at(leak.site)}: put its whole work into `with "
            "app.app_context():`, once for each job and not once for the worker; Flask-SQLAlchemy removes "
            "`db.session` when that block ends."
        )
    if scoped:
        return (
            f"In the job that takes a connection at {at(leak.site)}: `try:` its whole work, `finally:` call "
            "`remove()` on the scoped session."
        )
    return (
        f"In the job or thread that takes a connection at {at(leak.site)}: put its whole work into `with "
        "Session() as session:`, or close the session in a `finally`."
    )


_DEPENDENCY = (
    "For {where}: take the session from a dependency that yields it, `def get_session(): with Session() as "
    "session: yield session`, and `Depends(get_session)`; one that returns the session never closes it"
)
_FLASK_SQLALCHEMY = (
    "For {where}: Flask-SQLAlchemy removes `db.session` after each request, and no other session: use "
    "`db.session` there, or "
)
_ASYNCHRONOUS = "Of an `AsyncSession` that is `async with`, in an `async def`."
_WITH = "In {where}: `with Session() as session:` around all that uses the session."
_REQUEST = {  # framework, scoped session -> what to write where
    (
        FASTAPI,
        True,
    ): f"{_DEPENDENCY}, and a scoped session belongs to a thread that serves other requests too.",
    (FASTAPI, False): f"{_DEPENDENCY}.",
    (
        STARLETTE,
        True,
    ): "In {where}: take the session in a `with Session() as session:` block of the endpoint.",
    (FLASK_SQLALCHEMY, True): _FLASK_SQLALCHEMY
    + "call `remove()` on that scoped session in a `@app.teardown_appcontext` function.",
    (FLASK_SQLALCHEMY, False): f"{_FLASK_SQLALCHEMY}take the session in a `with` block.",
    (FLASK, True): "For {where}: `@app.teardown_appcontext` above a function that calls `remove()` on the "
    "scoped session used there.",
    (None, True): "For {where}: call `remove()` on the scoped session in a `finally`, when the request ends.",
}


def _in_request(leak: LeakSignals, framework: str | None, *, scoped: bool) -> str:
    text = _REQUEST.get((framework, scoped), _WITH)
    where = at(leak.site) if leak.endpoint is None else f"{leak.endpoint} ({at(leak.site)})"
    return text.replace("{where}", where)
