"""Advice names the service's own lines, in the words of its framework."""

import dataclasses
from collections.abc import Callable

import pytest

from rushhour.diagnosis import diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h


def of(history: History, **frameworks: str) -> History:
    plain = f.AgentProcess(0.1, h.PID, 1, "3.12", "2.0", None)
    other = f.AgentProcess(0.1, h.PID + 1, 1, "3.12", "2.0", "3.1", fastapi="0.1")  # leaks nothing
    return dataclasses.replace(history, processes=(other, dataclasses.replace(plain, **frameworks)))  # type: ignore[arg-type]  # versions alone


def in_jobs(history: History) -> History:
    """The same connections, taken by jobs whose threads wait for the next one."""
    checkouts = tuple(dataclasses.replace(one, endpoint=None, lost="owner-idle") for one in history.checkouts)
    return dataclasses.replace(history, checkouts=checkouts)


def fix(history: History) -> tuple[str, str]:
    found = diagnose(history, measure(h.scenario(), history))
    return found.cause, found.fix


def by_tasks(history: History) -> History:
    checkouts = tuple(dataclasses.replace(one, by_task=True) for one in history.checkouts)
    return dataclasses.replace(history, checkouts=checkouts)


def test_a_leak_of_tasks_is_mended_with_async_with() -> None:
    assert "`AsyncSession` that is `async with`" in fix(by_tasks(of(h.unclosed(), fastapi="0.1")))[1]
    assert "async with" not in fix(of(h.unclosed(), fastapi="0.1"))[1]


@pytest.mark.parametrize(
    ("story", "frameworks", "says"),
    [
        (h.incident, {"flask": "3.1"}, "`@app.teardown_appcontext` above a function that calls `remove()`"),
        (
            h.incident,
            {"flask": "3.1", "flask_sqlalchemy": "3.1"},
            "Flask-SQLAlchemy removes `db.session` after each",
        ),
        (
            h.incident,
            {"starlette": "0.4", "fastapi": "0.1"},
            "`Depends(get_session)`; one that returns the session",
        ),
        (h.incident, {"starlette": "0.4"}, "in a `with Session() as session:` block of the endpoint"),
        (h.incident, {}, "call `remove()` on the scoped session in a `finally`, when the request ends"),
        (h.unclosed, {"flask": "3.1"}, "`with Session() as session:` around all that uses the session"),
        (h.unclosed, {"starlette": "0.4", "fastapi": "0.1"}, "a dependency that yields it"),
        (h.unclosed, {"flask": "3.1", "flask_sqlalchemy": "3.1"}, "or take the session in a `with` block"),
    ],
)
def test_a_leak_of_requests_is_mended_where_the_framework_ends_them(
    story: Callable[[], History], frameworks: dict[str, str], says: str
) -> None:
    cause, text = fix(of(story(), **frameworks))
    first = text.split(". ")[0]
    assert cause in {"scope-never-removed", "unclosed-path"}
    assert says in first
    assert "app/referrals.py:88 list_referrals" in first
    assert "teardown_appcontext" not in text or "flask" in frameworks


@pytest.mark.parametrize("frameworks", [{}, {"flask": "3.1"}, {"starlette": "0.4", "fastapi": "0.1"}])
def test_a_leak_of_jobs_is_mended_in_the_job_whatever_serves_requests(frameworks: dict[str, str]) -> None:
    cause, text = fix(of(in_jobs(h.incident()), **frameworks))
    assert cause in {"scope-never-removed", "unclosed-path"}
    assert text.startswith("In the job")
    assert "takes a connection at app/referrals.py:88 list_referrals" in text
    assert "finally" in text.split(". ")[0]


def test_a_job_under_flask_sqlalchemy_has_an_application_context_of_its_own() -> None:
    _, text = fix(of(in_jobs(h.incident()), flask="3.1", flask_sqlalchemy="3.1"))
    assert "`with app.app_context():`, once for each job and not once for the worker" in text
