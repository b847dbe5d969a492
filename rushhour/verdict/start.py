"""Finds a service that exhausted its pool before its health path answered (pure)."""

from rushhour.diagnosis import Diagnosis
from rushhour.diagnosis.sites import at
from rushhour.metrics.measure import Metrics
from rushhour.metrics.window import start_failed
from rushhour.metrics.wording import counted
from rushhour.rundir import History


def exhausted_at_start(history: History, metrics: Metrics, diagnosis: Diagnosis) -> str | None:
    """Say that the service exhausted its pool before its health path answered; None when it did not."""
    if not start_failed(history):
        return None
    pool = metrics.pool
    full = any(
        sample.waiting and sample.capacity and sample.checked_out >= sample.capacity
        for sample in history.pools
    )
    if not (pool.timeouts or full):
        return None
    of = f" of {pool.capacity}" if pool.capacity else ""
    text = (
        f"the service exhausted its pool before its health path answered: {pool.in_use_max}{of} connections "
        f"of pool {pool.name} out, {counted(pool.timeouts or 0, 'pool time-out')}"
    )
    if diagnosis.cause != "none":
        text += f"; {diagnosis.cause}"
        if diagnosis.call_sites:
            text += f", taken at {at(diagnosis.call_sites[0])}"
    return text
