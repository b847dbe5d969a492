"""What `pytest --pool-leaks` saw, in one process or summed over the workers of pytest-xdist."""

from __future__ import annotations

from typing import Any


class Seen:
    """Counts leaks, pools and faults for the summary.

    `leaks` holds a mapping for each connection that a test left out: `test`, `what` became of the connection,
    and `sites`: file, line and function of the call site and of its callers, the test last.
    """

    def __init__(self) -> None:
        self.leaked_tests = 0
        self.pools = 0
        self.modules: dict[str, str] = {}
        self.faults: dict[tuple[str, str], int] = {}
        self.workers = 0
        self.lost_workers = 0
        self.leaks: list[dict[str, Any]] = []

    def plain(self) -> dict[str, Any]:
        """Return plain values, which execnet can send."""
        faults = [[where, error, times] for (where, error), times in self.faults.items()]
        return {
            "leaked_tests": self.leaked_tests,
            "pools": self.pools,
            "modules": self.modules,
            "faults": faults,
            "leaks": self.leaks,
        }

    def add_worker(self, plain: dict[str, Any] | None) -> None:
        """Add what a worker sent at its end; None if it died."""
        if plain is None:
            self.lost_workers += 1
            return
        self.workers += 1
        self.leaked_tests += plain["leaked_tests"]
        self.pools += plain["pools"]
        self.modules |= plain["modules"]
        self.leaks += plain["leaks"]
        for where, error, times in plain["faults"]:
            self.faults[where, error] = self.faults.get((where, error), 0) + times

    def doubts(self) -> list[str]:
        """Return what could not be seen."""
        never = "SQLAlchemy was never imported, so nothing is known about leaks"
        return [*([] if self.modules else [never]), *self._doubts()]

    def _doubts(self) -> list[str]:
        doubts = []
        if self.lost_workers:
            doubts.append(f"{self.lost_workers} workers ended early: their tests' connections are unknown")
        for (where, error), times in self.faults.items():
            doubts.append(f"the agent failed in {where}: {error} ({times} times)")
        return doubts

    def lines(self) -> list[str]:
        """Return the lines of the summary."""
        versions = ", ".join(f"{name} {version}" for name, version in self.modules.items())
        seen = f"{self.pools} pools alive, {versions or 'SQLAlchemy was never imported'}"
        if self.workers:
            seen += f", in {self.workers} workers"
        lines = [f"{self.leaked_tests} tests left connections out ({seen})", *self._doubts()]
        return [f"pool leaks: {line}" for line in lines]
