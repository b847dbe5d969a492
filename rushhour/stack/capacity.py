"""Checks that the pools do not exceed the connection limit of the servers (pure)."""

from rushhour.scenario.model import Scenario
from rushhour.stack.postgres.server import RESERVED_CONNECTIONS


def check_capacity(scenario: Scenario) -> list[str]:
    """Return the problems of a scenario whose service can open more connections than a server allows.

    Each worker process has pools of its own, one for each server.
    """
    if not scenario.names_servers:  # the limit of the service's own database is unknown
        return []
    if scenario.cause == "server-limit":  # the scenario exceeds the limit on purpose
        return []
    pool, service, postgres = scenario.pool, scenario.service, scenario.postgres
    wanted = service.workers * (pool.size + pool.max_overflow)
    free = postgres.max_connections - RESERVED_CONNECTIONS
    if wanted <= free:
        return []
    problem = (
        f"scenario {scenario.name}: {service.workers} worker(s) x ({pool.size} + {pool.max_overflow}) "
        f"connections = {wanted} to each server, which takes {free} (max_connections "
        f"{postgres.max_connections} less {RESERVED_CONNECTIONS} reserved for observers); lower the pool or "
        f"the workers, or set postgres.max_connections to at least {wanted + RESERVED_CONNECTIONS}"
    )
    return [problem]
