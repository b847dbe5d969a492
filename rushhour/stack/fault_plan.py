"""Applies the faults of a scenario to its servers during the load."""

from collections.abc import Sequence
from typing import cast

from rushhour.errors import StackError
from rushhour.rundir import Recorder
from rushhour.rundir import facts as f
from rushhour.scenario.model import ServerFault
from rushhour.stack import Fault, Running, TakesFaults


class FaultPlan:
    """The faults of one run, each applied once, and each an event.

    Raises StackError when there are faults and the stack's servers cannot be made to fail.
    """

    def __init__(self, faults: Sequence[ServerFault], running: Running, recorder: Recorder) -> None:
        self._pending = sorted(faults, key=lambda fault: fault.at)
        self._recorder = recorder
        self._subject = running if isinstance(running, TakesFaults) else None
        if faults and self._subject is None:
            raise StackError(
                f"the scenario does {faults[0].do} to the {faults[0].server}, and the servers of this stack "
                "cannot be made to fail"
            )

    def apply_due(self, elapsed_s: float) -> None:
        """Apply the faults that are due `elapsed_s` after the start of the load. Raises StackError."""
        while self._subject is not None and self._pending and self._pending[0].at <= elapsed_s:
            fault = self._pending.pop(0)
            began_s = self._recorder.now_s()
            self._subject.fault(fault.server, cast(Fault, fault.do), fault.table)  # the scenario's own values
            took_s = round(self._recorder.now_s() - began_s, 3)
            detail = {"table": fault.table} if fault.table else {}
            self._recorder.event(f.FAULT, server=fault.server, do=fault.do, took_s=took_s, **detail)
