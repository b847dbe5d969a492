"""Where a thread of the service stands: in the driver, on its way to a connection, or somewhere else.

Sampled ten times a second, for those threads alone that hold a connection for a while: it says what a hold
is spent on, which neither the pool nor the server can.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .call_sites import APPLICATION, Classifier, Site

if TYPE_CHECKING:
    from types import FrameType

DRIVER, QUEUE, ELSEWHERE = "driver", "queue", "elsewhere"
MAX_FRAMES = 80  # looked at; a request of a big application is about that deep

_SQLALCHEMY = f"{os.sep}sqlalchemy{os.sep}"
_QUEUE = os.path.join("sqlalchemy", "util", "queue.py")
_POOL = os.path.join("sqlalchemy", "pool") + os.sep  # whoever holds a connection and is here, wants another
_GIVING_BACK = frozenset({"_reset", "_finalize_fairy", "_checkin", "close", "checkin", "_return_conn"})


def standing(frame: FrameType | None, classifier: Classifier) -> tuple[str, Site | None]:
    """What the thread of this frame is doing, and the application's innermost line.

    A driver may wait in a function of the application's that it calls back: that is the driver's wait still.
    """
    what, site = ELSEWHERE, None
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        file = code.co_filename
        if _SQLALCHEMY in file:
            seen = _in_sqlalchemy(file, code.co_name)
            if seen != ELSEWHERE and what == ELSEWHERE:
                what, site = seen, None
        elif site is None and (classifier.kinds.get(file) or classifier.kind(file)) == APPLICATION:
            site = Site(classifier.absolute(file), frame.f_lineno, code.co_name)
        frame = frame.f_back
    return what, site


def _in_sqlalchemy(file: str, function: str) -> str:
    if file.endswith(_QUEUE) or function == "do_ping":
        return QUEUE
    if function.startswith("do_"):
        return DRIVER
    return QUEUE if _POOL in file and function not in _GIVING_BACK else ELSEWHERE
