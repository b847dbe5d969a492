"""The shipped customers, with hardly a pause between two requests."""

from locustfiles import referrals


class Busy(referrals.Customer):
    def wait_time(self) -> float:
        return 0.02
