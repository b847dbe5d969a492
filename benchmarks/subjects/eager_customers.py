"""The shipped customers, without a pause between two requests."""

from locustfiles import referrals


class Eager(referrals.Customer):
    def wait_time(self) -> float:
        return 0.0
