"""A push notification goes out again and again: many customers open the app within seconds.

    locust -f locustfiles/push_notification.py --host http://127.0.0.1:8000 --users 500 --spawn-rate 50

The mean rate is low and the bursts are high. A server that starts a thread only when none is idle (gunicorn's
gthread) gets its threads from bursts, and a leak per thread shows only once there are more threads than
connections.

These are the customers of `referrals.py` with its settings; they are mostly away from their phones.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import math
from typing import TYPE_CHECKING

from locust import events
from locust.argument_parser import LocustArgumentParser

if TYPE_CHECKING:
    from locustfiles import referrals
else:
    import referrals  # Locust puts a locustfile's folder on the path

AWAY = 10  # think times between two sessions


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--push-every",
        type=referrals.positive,
        default=20.0,
        env_var="RUSHHOUR_PUSH_EVERY_S",
        help="in seconds",
    )


class PushedCustomer(referrals.Customer):
    """Opens the app when the phone asks for it, and seldom otherwise."""

    def on_start(self) -> None:
        if self.settings.one_session:
            return
        self._pause_s = self.away()
        self.wait()

    def next_push_s(self, now_s: float) -> float:
        every_s: float = self.settings.push_every
        return (math.floor(now_s / every_s) + 1) * every_s

    def away(self) -> float:
        return AWAY * self.think()
