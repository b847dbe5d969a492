"""A run directory says how its run ended, and an interrupted run is judged all the same."""

from pathlib import Path

import pytest

from rushhour.errors import StackError
from rushhour.run import Screen, recording
from rushhour.rundir import RunDir, create_run_dir, load_history
from rushhour.rundir import facts as f
from tests.unit import histories as h

NO_SCREEN = Screen(progress=lambda *_, **__: None, live=lambda _: None, done=lambda: None)


@pytest.mark.parametrize(
    ("error", "event", "judged"),
    [
        (None, f.RUN_ENDED, False),
        (StackError("the primary ended", ("last line",)), f.STACK_BROKE, False),
        (KeyboardInterrupt(), f.INTERRUPTED, True),
    ],
    ids=["ended", "broken", "interrupted"],
)
def test_a_run_directory_says_how_its_run_ended(
    error: BaseException | None, event: str, judged: bool, tmp_path: Path
) -> None:
    run = create_run_dir(tmp_path, "gate")
    seen: list[RunDir] = []
    passed_on: list[BaseException] = []
    try:
        with recording(h.scenario(), run, NO_SCREEN, seen.append):
            if error is not None:
                raise error
    except KeyboardInterrupt as passed:
        passed_on.append(passed)
    assert load_history(run).event(event) is not None
    assert seen == ([run] if judged else [])
    assert passed_on == ([error] if judged else [])
