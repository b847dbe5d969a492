"""Reads the documentation page of a cause (docs/causes), which reports and annotations carry."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rushhour.scenario.model import CAUSES

_PACKAGE: Final = Path(__file__).resolve().parents[1]
# The first folder is that of a checkout, the second that of an installed wheel.
FOLDERS: Final = (_PACKAGE.parent / "docs" / "causes", _PACKAGE / "docs" / "causes")
# This section is left out: its commands need a checkout of rushhour.
_SEE_IT: Final = re.compile(r"^## See it\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def page_of(cause: str, folders: Sequence[Path] = FOLDERS) -> str | None:
    """Return the page of a cause as Markdown, from the first of these folders that has it.

    None for `none` and for a cause without a page.
    """
    if cause not in CAUSES:  # read from a file, and used in a path below
        return None
    for folder in folders:
        path = folder / f"{cause}.md"
        if path.is_file():
            return _SEE_IT.sub("", path.read_text(encoding="utf-8"))
    return None
