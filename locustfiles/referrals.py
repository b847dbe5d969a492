"""Customers of the referrals service, as sessions of its mobile app.

    locust -f locustfiles/referrals.py --host http://127.0.0.1:8000 --users 50 --spawn-rate 5

A customer opens the app (log-in, then the app itself fetches the summary), looks at their referrals (the
heavy request), at one of them, sometimes goes back to the list or invites somebody, and closes the app. After
a pause the next customer picks up. Every request is a Locust task of its own and all waiting is Locust's, so
stopping a test ends those who wait at once and lets requests in flight finish.

Settings: `locust -f locustfiles/referrals.py --help`, group "customers", or the environment.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import argparse
import json
import math
import random
import re
import time
from collections.abc import Callable
from itertools import accumulate, count
from typing import Any, ClassVar

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser

GROUP = 1_000  # the seeded customers come in groups of a thousand that are alike
THINK_SIGMA = 0.6  # of the log-normal think time: a mean of 1.2 medians, one in a hundred above 4 medians
APP_S = (0.05, 0.3)  # the app sends its next request by itself, this soon
BACK_TO_LIST = 0.5  # after a detail: back to the list, which is fetched again
INVITE = 0.1  # after a detail: invite somebody
RETRIES = 2  # the app tries again this often, on a 5xx and when the connection broke
BACKOFF_S = 0.5  # the first retry comes after up to this long, each further one after up to twice as long
PUSH_WITHIN_S = 0.5  # customers open the app this soon after a push notification: compressed, as the day is
CONNECT_TIMEOUT_S = 10.0
START_WITHIN_S = 1.0  # a new customer's first request comes this soon


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def whole(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number


def moments(text: str) -> tuple[float, ...]:
    """Seconds since the start of the test, comma-separated, for argparse."""
    return tuple(sorted(positive(part) for part in text.split(",") if part.strip()))


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """Locust shows these in `--help` and in its web page."""
    group = parser.add_argument_group("customers", "Which customers there are, and how they behave")
    group.add_argument(
        "--customers",
        type=whole,
        default=10_000,
        env_var="RUSHHOUR_CUSTOMERS",
        help="their ids are 1 to this",
    )
    group.add_argument(
        "--think-time", type=positive, default=6.0, env_var="RUSHHOUR_THINK_TIME_S", help="median, in seconds"
    )
    group.add_argument(
        "--client-timeout",
        type=positive,
        default=60.0,
        env_var="RUSHHOUR_CLIENT_TIMEOUT_S",
        help="a customer waits this long for an answer, in seconds; keep it above the pool's time-out",
    )
    group.add_argument(
        "--seed", type=int, default=1, env_var="RUSHHOUR_SEED", help="the same customers again"
    )
    group.add_argument(
        "--push-at",
        type=moments,
        default="",
        env_var="RUSHHOUR_PUSH_AT_S",
        help="push notifications go out this many seconds into the test, comma-separated",
    )
    group.add_argument(
        "--push-share",
        type=share,
        default=0.2,
        env_var="RUSHHOUR_PUSH_SHARE",
        help="this share of the waiting customers opens the app at a push",
    )
    group.add_argument(
        "--one-session",
        action="store_true",
        env_var="RUSHHOUR_ONE_SESSION",
        help="a customer leaves when the app is closed, and nobody takes over the phone",
    )


def referrals_of(customer_id: int) -> int:
    """How many referrals a customer of the seeded data has: most a few, a handful of each thousand hundreds.

    The same as in rushhour/stack/postgres/seeding/dataset.py, which seeds them.
    """
    return max(0, 2_820 // (customer_id * 37 % GROUP + 6) - 5)


ACTIVITY = tuple(accumulate(referrals_of(member) + 1 for member in range(1, GROUP + 1)))


def draw_customer(rng: random.Random, customers: int) -> int:
    """An id from 1 to `customers`: the more referrals one has, the more often one opens the app."""
    [member] = rng.choices(range(1, GROUP + 1), cum_weights=ACTIVITY)
    drawn: int = rng.randrange(max(1, customers // GROUP)) * GROUP + member
    return (drawn - 1) % customers + 1


class Clock:
    """When this test started, in this process: the zero of `--push-at`."""

    started_s = time.monotonic()

    @classmethod
    def now_s(cls) -> float:
        return time.monotonic() - cls.started_s


@events.test_start.add_listener
def start_clock(**_: Any) -> None:
    Clock.started_s = time.monotonic()


class Customer(FastHttpUser):
    """One phone after another: a state machine whose steps are single requests.

    A step sets what comes next (`_step`) and after how long (`_pause_s`).
    """

    concurrency = 1  # a phone sends one request at a time, over one connection
    connection_timeout = CONNECT_TIMEOUT_S
    numbers: ClassVar = count()
    session_length = None  # with `--one-session` the customer leaves by itself

    def __init__(self, environment: Environment) -> None:
        settings: Any = environment.parsed_options
        self.settings = settings
        self.network_timeout = settings.client_timeout
        super().__init__(environment)
        worker = getattr(environment.runner, "worker_index", 0)
        number = next(self.numbers)
        self.rng = random.Random(f"{settings.seed}/{worker}/{number}")  # noqa: S311  # no secret
        self._phone, self._opened = f"{worker}-{number}", 0
        self._customer = 0
        self._headers: dict[str, str] = {}
        self._referral = 0
        self._attempt = 0
        self._pause_s = 0.0
        self._step: Callable[[], None] = self.open_app
        self._after_opening: Callable[[], None] = self.see_summary

    def on_start(self) -> None:
        """Locust starts customers in batches, and they must not act in step; who arrives acts at once."""
        if self.settings.one_session:
            return
        self._pause_s = self.rng.uniform(0, START_WITHIN_S)
        self.wait()

    @task
    def act(self) -> None:
        """One step: one request."""
        self._step()

    def wait_time(self) -> float:
        """Until the next step; a push notification may cut it short."""
        now_s = Clock.now_s()
        push_s = self.next_push_s(now_s)
        if self._attempt or push_s >= now_s + self._pause_s or self.rng.random() >= self.settings.push_share:
            return self._pause_s
        # The notification leads to the list: "your friend has joined, see your reward".
        self._step, self._after_opening = self.open_app, self.see_list
        return push_s - now_s + self.rng.uniform(0, PUSH_WITHIN_S)

    def next_push_s(self, now_s: float) -> float:
        """When the next push notification goes out, in seconds into the test; infinite without one."""
        return next((push_s for push_s in self.settings.push_at if push_s > now_s), math.inf)

    def open_app(self) -> None:
        if not self._attempt:
            self._customer = draw_customer(self.rng, self.settings.customers)
            self._headers = self.agent()
        token = self.ask("POST", "/login", "/login", json={"customer_id": self._customer}, read=token_of)
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
            self.then(self._after_opening, self.rng.uniform(*APP_S))
            self._after_opening = self.see_summary

    def agent(self) -> dict[str, str]:
        """Another phone at each opening: by its agent the service's access log tells sessions apart."""
        self._opened += 1
        return {"User-Agent": f"referrals-app/1.0 (phone {self._phone}-{self._opened})"}

    def see_summary(self) -> None:
        if self.ask("GET", f"/customers/{self._customer}/summary", "/customers/:id/summary") is not None:
            self.then(self.see_list, self.think())

    def see_list(self) -> None:
        path = f"/customers/{self._customer}/referrals"
        drawn = self.ask("GET", path, "/customers/:id/referrals", read=self.draw_referral)
        if drawn is None:
            return
        if drawn:
            [self._referral] = drawn
            self.then(self.see_detail, self.think())
        elif self.rng.random() < INVITE:
            self.then(self.invite, self.think())
        else:
            self.close_app()

    def draw_referral(self, answer: Any) -> list[int]:
        """One of the listed referrals, or none of an empty list."""
        return draw_id(answer.content, self.rng)

    def see_detail(self) -> None:
        if self.ask("GET", f"/referrals/{self._referral}", "/referrals/:id") is None:
            return
        dice = self.rng.random()
        if dice < BACK_TO_LIST:
            self.then(self.see_list, self.think())
        elif dice < BACK_TO_LIST + INVITE:
            self.then(self.invite, self.think())
        else:
            self.close_app()

    def invite(self) -> None:
        friend = f"friend-{self.rng.getrandbits(48):012x}@example.test"
        body = {"campaign_id": 1, "product_id": 1, "invitee_email": friend}
        path = f"/customers/{self._customer}/referrals"
        # Not tried again: after an error the app does not know whether the invitation was stored.
        if self.ask("POST", path, "/customers/:id/referrals", json=body, retries=0) is not None:
            self.then(self.see_list, self.rng.uniform(*APP_S))

    def close_app(self) -> None:
        if self.settings.one_session:
            raise StopUser
        self.then(self.open_app, self.away())

    def think(self) -> float:
        """Seconds between two looks at the screen: log-normal."""
        return self.rng.lognormvariate(math.log(self.settings.think_time), THINK_SIGMA)

    def away(self) -> float:
        """Seconds from closing the app to the next customer's opening it."""
        return self.think()

    def then(self, step: Callable[[], None], pause_s: float) -> None:
        self._step, self._pause_s, self._attempt = step, pause_s, 0

    def ask(
        self,
        method: str,
        path: str,
        name: str,
        *,
        json: Any = None,
        retries: int = RETRIES,
        read: Callable[[Any], Any] = lambda answer: answer,
    ) -> Any:
        """Send one request; what `read` finds in the answer, or None when the step is over or tried again.

        An answer that `read` cannot read is a failure.
        """
        context = {"retry": self._attempt} if self._attempt else {}
        with self.client.request(
            method,
            path,
            name=name,
            json=json,
            headers=self._headers,
            context=context,
            catch_response=True,
        ) as answer:
            error = getattr(answer, "error", None)
            if 0 < answer.status_code < 400 and error is None:
                try:
                    return read(answer)
                except (ValueError, KeyError, TypeError) as unreadable:
                    answer.failure(f"unexpected body: {unreadable!r}")
        broken = answer.status_code == 0 and not is_timeout(error)
        if (broken or answer.status_code >= 500) and self._attempt < retries:
            self._pause_s = self.rng.uniform(0, BACKOFF_S * 2**self._attempt)
            self._attempt += 1
        else:
            self.close_app()
        return None


def is_timeout(error: Any) -> bool:
    """Whether the customer's patience ended; nobody waits that long a second time."""
    return isinstance(getattr(error, "original", error), TimeoutError)


def token_of(answer: Any) -> str:
    """The token in `{"token": "..."}`, which shows who is asking from then on."""
    return str(json.loads(answer.content)["token"])


# A list whose referrals begin with their ids, as the service writes it; a referral behind another.
LISTED = re.compile(rb'\s*\{(?:"\w+"\s*:\s*\d+\s*,\s*)*"referrals"\s*:\s*\[\s*\{\s*"id"\s*:\s*(\d+)\s*[,}]')
REFERRAL = re.compile(rb'\}\s*,\s*\{\s*"id"\s*:\s*(\d+)\s*[,}]')


def draw_id(body: bytes, rng: random.Random) -> list[int]:
    """One id of `{"referrals": [{"id": 1, ...}, ...]}`, or none of an empty list. Raises as a parser does.

    The list of a busy customer is hundreds of kilobytes long. So the next referral behind a random byte is
    taken, which reads a few hundred bytes; what looks otherwise than the service's list is parsed.
    """
    first = LISTED.match(body)
    if first and body[-16:].rstrip().endswith(b"]}"):
        drawn = REFERRAL.search(body, rng.randrange(first.start(1), len(body))) or first
        return [int(drawn[1])]
    ids = [referral["id"] for referral in json.loads(body)["referrals"]]
    return [rng.choice(ids)] if ids else []
