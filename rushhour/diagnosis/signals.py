"""Computes all signals of a run once, for all rules (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rushhour.diagnosis.backend import BackendSignals, backend_signals
from rushhour.diagnosis.holds import HoldSignals, hold_signals
from rushhour.diagnosis.leaks import LeakSignals, leak_signals
from rushhour.diagnosis.lock_chains import LockSignals, lock_signals
from rushhour.diagnosis.outside import Outside, outside_signals
from rushhour.diagnosis.pressure import PressureSignals, pressure_signals
from rushhour.diagnosis.processes import ProcessSignals, process_signals
from rushhour.diagnosis.standstills import Standstills, standstills
from rushhour.metrics.measure import Metrics
from rushhour.rundir import History
from rushhour.rundir import facts as f

LOCKED_S: Final = 2.0  # a shorter wait of most backends for a lock is a hiccup


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals of a run, which the rules judge."""

    metrics: Metrics
    agent: bool  # whether pools were seen from inside
    leak: LeakSignals | None
    pressure: PressureSignals | None
    holds: HoldSignals | None
    backends: tuple[BackendSignals, ...]
    processes: ProcessSignals
    outside: Outside
    locks: tuple[LockSignals, ...] = ()
    stood: Mapping[int, Standstills] = field(default_factory=dict)  # by process

    @property
    def behind_leak(self) -> BackendSignals | None:
        """The server on which queries waited for a lock while leaked transactions were open there."""
        if self.leak is None or not self.leak.leaked:
            return None
        return next(
            (
                backend
                for backend in self.backends
                if backend.server == f.server_of(self.leak.pool) and backend.lock_waits_s >= LOCKED_S
            ),
            None,
        )

    @property
    def leak_share(self) -> float:
        """The share of leaked connections among those out, as a mean over the time the pool was full."""
        if self.leak is None:
            return 0.0
        behind = self.behind_leak
        held = self.leak.leaked + (behind.lock_waits_max if behind is not None else 0)
        lasting = min(1.0, held / self.leak.capacity) if self.leak.capacity else 0.0
        if self.pressure is not None and self.pressure.pool == self.leak.pool:
            # A leak only grows: what it holds at the end says more than what it held on the way.
            return max(self.pressure.leaked_share, lasting)
        if self.pressure is not None and self.pressure.queued:
            return lasting
        return 1.0  # nobody had to wait: what did not come back is all the trouble there is


def read_signals(history: History, metrics: Metrics) -> Signals:
    """Compute all signals."""
    window = metrics.window
    pressure = pressure_signals(history, window)
    stood = standstills(history)
    return Signals(
        metrics=metrics,
        agent=bool(history.pools),
        leak=leak_signals(history, window),
        pressure=pressure,
        holds=hold_signals(history, pressure),
        backends=backend_signals(history, window, stood),
        processes=process_signals(history, window, pressure),
        outside=outside_signals(history, window),
        locks=lock_signals(history, window, pressure),
        stood=stood,
    )
