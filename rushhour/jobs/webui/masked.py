"""Masks what the web UI answers, Locust's own pages included, as the terminal masks what it prints."""

import csv
import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from flask import Flask, Response
from flask.json import dumps
from jinja2.utils import htmlsafe_json_dumps

from rushhour.process.printable import clean
from rushhour.process.regular import open_to_read
from rushhour.rundir.masking import mask_text, mask_value

OPTIONS: Final = (
    "extra_options"  # where Locust shows a locustfile's options, with values from the environment
)
ARGUMENTS: Final = "window.templateArgs = "  # behind it a page of Locust holds its data as JSON
LOGS: Final = "logs"  # of a run: they hold what the service wrote, as it wrote it
LONGEST_LINE: Final = 1_000_000


def mask_answers(app: Flask) -> None:
    """Mask every answer but files of runs and scripts. Call it before other hooks are added."""

    def masked(answer: Response) -> Response:
        kind = _KINDS.get(answer.mimetype or "")
        if kind is not None and not answer.is_streamed and not answer.direct_passthrough:
            answer.set_data(kind(answer.get_data(as_text=True)))
        return answer

    # Flask calls the hooks that were added first last: by then the others have put in what they add.
    app.after_request_funcs.setdefault(None, []).insert(0, masked)


def masked_data(value: Any) -> Any:
    """Return plain data with every text in it masked, and a locustfile's options by their names too."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {
            key: _masked_options(part) if key == OPTIONS else masked_data(part) for key, part in value.items()
        }
    return [masked_data(part) for part in value] if isinstance(value, list) else value


def masked_page(text: str) -> str:
    """Return a page of Locust whose data are masked; its scripts and all else stay as they are."""
    before, mark, rest = text.rpartition(ARGUMENTS)
    if not mark:
        return text
    try:
        data, end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return before + mark + "{}"  # what cannot be masked is not shown
    return before + mark + str(htmlsafe_json_dumps(masked_data(data))) + rest[end:]


def masked_lines(path: Path) -> Iterator[str]:
    """Return the lines of a log, masked. Raises OSError for what is no regular file."""
    return _masked_lines(open_to_read(path))


def _masked_lines(file: BinaryIO) -> Iterator[str]:
    with file:
        while line := file.readline(LONGEST_LINE):
            yield mask_text(line.decode("utf-8", "replace"))


def _masked_options(options: Any) -> Any:
    """Mask the values of options whose names say that they are secret, as of variables."""
    if not isinstance(options, dict):
        return masked_data(options)
    found: dict[str, Any] = masked_data(options)
    for name, option in options.items():
        if isinstance(option, dict) and isinstance(value := option.get("default_value"), str):
            found[name]["default_value"] = mask_value(name, value)
    return found


def _masked_json(text: str) -> str:
    try:
        return dumps(masked_data(json.loads(text)))
    except ValueError:
        return mask_text(text)


def _masked_table(text: str) -> str:
    out = StringIO()
    csv.writer(out).writerows([mask_text(cell) for cell in row] for row in csv.reader(StringIO(text)))
    return out.getvalue()


_KINDS: Final[dict[str, Callable[[str], str]]] = {
    "application/json": _masked_json,
    "text/csv": _masked_table,
    "text/html": masked_page,
    "text/plain": lambda text: clean(mask_text(text)),
}
