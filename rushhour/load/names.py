"""Names of the environment variables that the harness sets for Locust, the plugin and locustfiles."""

from typing import Final

RUN_DIR: Final = "RUSHHOUR_RUN_DIR"
ANCHOR_WALL_S: Final = "RUSHHOUR_ANCHOR_WALL_S"
SHAPE: Final = "RUSHHOUR_SHAPE"
DURATION_S: Final = "RUSHHOUR_DURATION_S"
WARM_UP_S: Final = "RUSHHOUR_WARM_UP_S"
ARRIVALS: Final = "RUSHHOUR_ARRIVALS"  # points of the curve of rates: "0.0:10.0,60.0:40.0"
PROCESSES: Final = "RUSHHOUR_PROCESSES"  # that run customers, and share the rate of arrivals
CHANNEL: Final = "RUSHHOUR_UI_CHANNEL"  # the number of Locust's end of the web UI's socket pair

# Locustfiles read these; each has its own default, so that it also runs with stock Locust.
CUSTOMERS: Final = "RUSHHOUR_CUSTOMERS"
THINK_TIME_S: Final = "RUSHHOUR_THINK_TIME_S"
CLIENT_TIMEOUT_S: Final = "RUSHHOUR_CLIENT_TIMEOUT_S"
SEED: Final = "RUSHHOUR_SEED"
PUSH_AT_S: Final = "RUSHHOUR_PUSH_AT_S"
PUSH_SHARE: Final = "RUSHHOUR_PUSH_SHARE"
ONE_SESSION: Final = "RUSHHOUR_ONE_SESSION"  # "yes": a customer leaves at the end of the session
