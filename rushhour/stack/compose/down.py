"""Implements `rushhour down` for Compose."""

from contextlib import closing
from pathlib import Path

from rushhour.errors import StackError
from rushhour.stack.compose.engine import engine_errors, find_engine
from rushhour.stack.compose.project import remove_dead_projects
from rushhour.stack.compose.template import templates_root
from rushhour.stack.postgres.kept import bring_down_kept


def bring_down_compose(cache: Path, *, templates: bool) -> list[str]:
    """Remove what dead runs left and, if asked, the kept data; return a line for each action.

    Without an engine there is nothing to remove from it. Raises StackError when something cannot be removed.
    """
    done: list[str] = []
    try:
        engine = find_engine()
    except StackError:
        engine = None
    if engine is not None:
        with engine_errors(), closing(engine.client()) as client:
            dead = remove_dead_projects(client.api)
        done += [f"removed the containers of {project}, left by a run that died" for project in dead]
    if templates:
        done += bring_down_kept(templates_root(cache))
    return done
