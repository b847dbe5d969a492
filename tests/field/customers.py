"""Customers of a field case: each asks for an item every 0.3 to 1.2 s."""

# Locust's user classes and decorators carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import random

from locust import FastHttpUser, between, task

ITEMS = 1000


class Customer(FastHttpUser):
    """Asks for one of the items."""

    wait_time = between(0.3, 1.2)

    @task
    def item(self) -> None:
        self.client.get(f"/item/{random.randrange(ITEMS)}", name="/item/:number")  # noqa: S311
