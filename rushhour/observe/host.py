"""Samples CPU and memory of the run's components, from readings of their meters."""

from collections.abc import Callable, Mapping
from typing import Final

from rushhour.process.meter import Meter, MeterReading
from rushhour.rundir.facts import HostSample

_MB: Final = 1024 * 1024
_SAME_S: Final = 0.001


class HostSampler:
    """Reads every meter; a sample covers the time between a meter's last two readings.

    The first call therefore gives no sample for a meter. A component that has ended is left out. `now_s` is
    the run's monotonic clock. A meter that fails is reported to `on_fault(component, error)`, and the other
    meters are still read.
    """

    def __init__(
        self,
        meters: Mapping[str, Meter],
        now_s: Callable[[], float],
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        self._meters = dict(meters)
        self._now_s = now_s
        self._on_fault = on_fault
        self._last: dict[str, tuple[float, MeterReading]] = {}

    def add(self, component: str, meter: Meter) -> None:
        """Add a meter, or replace the meter of that name; safe to call from another thread."""
        self._last.pop(component, None)
        self._meters = {**self._meters, component: meter}

    def sample(self) -> list[HostSample]:
        """Return a sample for each component that has new figures."""
        found = []
        for component, meter in self._meters.items():
            try:
                reading = meter.read()
            except ProcessLookupError:
                self._last.pop(component, None)
                continue
            except Exception as error:  # noqa: BLE001 - reported; one meter's failure must not blind the rest
                self._on_fault(component, error)
                continue
            at_s = self._now_s() - reading.age_s
            last = self._last.get(component)
            if last is not None and at_s - last[0] < _SAME_S:
                continue  # the figures have not changed
            self._last[component] = (at_s, reading)
            if last is not None:
                found.append(self._between(component, meter, last, (at_s, reading)))
        return found

    def _between(
        self,
        component: str,
        meter: Meter,
        before: tuple[float, MeterReading],
        after: tuple[float, MeterReading],
    ) -> HostSample:
        (then_s, old), (at_s, new) = before, after
        seconds = at_s - then_s
        throttled = None
        if new.throttled_s is not None and old.throttled_s is not None:
            throttled = round(max(0.0, new.throttled_s - old.throttled_s) / seconds, 4)
        return HostSample(
            t_s=round(at_s, 4),
            component=component,
            cpu_cores=round(max(0.0, new.cpu_s - old.cpu_s) / seconds, 4),
            rss_mb=round(new.rss_bytes / _MB, 2),
            processes=new.processes,
            limit_cores=meter.limit_cores,
            throttled_cores=throttled,
        )
