"""`rushhour down` for Compose: what dead runs left in the engine, and the kept data."""

from contextlib import closing
from pathlib import Path

from rushhour.errors import StackError
from rushhour.stack.compose.engine import ENGINE_ERRORS, find_engine, last_reason
from rushhour.stack.compose.project import remove_dead_projects
from rushhour.stack.compose.template import remove_compose_templates


def bring_down_compose(cache: Path, *, templates: bool) -> list[str]:
    """Remove what dead runs left and, if asked, the kept data; a line for each thing done.

    Without an engine there is nothing to remove from it. Raises StackError when something cannot be removed.
    """
    done: list[str] = []
    try:
        engine = find_engine()
    except StackError:
        engine = None
    if engine is not None:
        try:
            with closing(engine.client()) as client:
                dead = remove_dead_projects(client.api)
        except ENGINE_ERRORS as error:
            raise StackError(f"the container engine failed: {last_reason(error)}") from error
        done += [f"removed the containers of {project}, left by a run that died" for project in dead]
    if templates:
        removed, kept = remove_compose_templates(cache)
        done += [f"removed the kept databases {path.name}" for path in removed]
        done += [f"left the kept databases {path.name}: a run uses them" for path in kept]
    return done
