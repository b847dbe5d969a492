"""Multi-window, multi-burn-rate alerts on an error budget, after the SRE workbook ("Alerting on SLOs")."""

from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rushhour.alarms.events import Firing, Kind, Notification, Replay
from rushhour.alarms.timeline import Timeline, spoken, sums
from rushhour.scenario.durations import PositiveSeconds
from rushhour.scenario.model import STRICT

EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True, config=STRICT)
class BurnRateAlert:
    """Goes off while the long *and* the short window burn the budget `burn` times too fast.

    `objective` is the share of requests that must be good (0.999); at a burn rate of 1 the budget lasts for
    exactly the SLO's period. The time before the timeline counts as healthy, with as many requests a second
    as the timeline has on average.
    """

    name: str
    objective: Annotated[float, Field(gt=0, lt=1)]
    long: PositiveSeconds
    short: PositiveSeconds
    burn: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    notify: tuple[str, ...] = ()
    renotify: PositiveSeconds | None = None
    description: str = ""
    system: Literal["burn-rate"] = "burn-rate"

    @property
    def error_share(self) -> float:
        """The share of failed requests from which on it goes off."""
        return self.burn * (1 - self.objective)

    @property
    def rule(self) -> str:
        again = f", again every {spoken(self.renotify)}" if self.renotify else ""
        return (
            f"over {self.error_share:.3%} failed in the last {spoken(self.long)} and {spoken(self.short)} "
            f"({self.burn:g} times what an objective of {self.objective:.10g} allows){again}"
        )

    @property
    def settles_s(self) -> float:
        return self.short + EVERY_S + (self.renotify or 0.0)

    def break_even_per_minute(self, failures_per_minute: float) -> float:
        """Return failures / (burn (1 - objective)): the requests a minute below which these failures fire."""
        return failures_per_minute / self.error_share

    def replay(self, timeline: Timeline) -> Replay:
        if missing := [name for name in ("requests", "http_5xx") if timeline.lacks(name)]:
            return Replay((), (), unknown=f"the timeline holds no {', no '.join(missing)}")
        failed, requests = sums(timeline.failures), sums(timeline.series["requests"])
        usual = requests[-1] / max(1, timeline.seconds)

        def burns(end: int, window_s: float) -> bool:
            start = end - round(window_s)
            asked = requests[end] - requests[max(0, start)] + usual * max(0, -start)
            return asked > 0 and (failed[end] - failed[max(0, start)]) / asked > self.error_share

        notifications: list[Notification] = []
        firing, on, told_s = Firing(), False, 0.0
        t_s = EVERY_S
        while t_s <= timeline.seconds:
            now = burns(round(t_s), self.long) and burns(round(t_s), self.short)
            if now and not on:
                notifications.append(Notification(t_s, Kind.ALARM, self.notify))
                told_s = t_s
            elif now and self.renotify and t_s - told_s >= self.renotify:
                notifications.append(Notification(t_s, Kind.REPEAT, self.notify))
                told_s = t_s
            on = now
            firing.at(t_s, on)
            t_s += EVERY_S
        return Replay(tuple(notifications), firing.ended(timeline.seconds))
