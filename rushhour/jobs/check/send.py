"""Sends the requests of `rushhour check` and watches what stays checked out."""

import http.client
import time
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from rushhour.errors import StackError
from rushhour.jobs.check.result import Answer, CheckResult, Request, parse_request, unrequested
from rushhour.metrics.pools import fell_silent
from rushhour.observe.watch import PoolReader
from rushhour.process.waiting import came_true
from rushhour.rundir import Recorder
from rushhour.rundir import facts as f
from rushhour.stack import Running

REQUEST_TIMEOUT_S = 10.0
SETTLE_S = 0.5  # a connection that is still out this long after its response has ended did not come back
AGENT_TIMEOUT_S = 5.0
WORK_TIMEOUT_S = 5.0  # for what a request has started and its response does not wait for


def run_check(lines: Sequence[str], running: Running, watcher: PoolReader, recorder: Recorder) -> CheckResult:
    """Send each request once, wait for the agent's next samples, and list what is still out.

    Work that goes on after its response has some seconds more to give back what it took.
    """
    began_s = recorder.now_s()
    requests = [parse_request(line) for line in lines]
    answers = [send(running.service_url, request) for request in requests]
    ended_s = recorder.now_s()
    seen: list[f.PoolFact] = []
    newest_s = 0.0

    def settled() -> bool:
        nonlocal newest_s
        fresh = watcher.poll()
        recorder.write(fresh)
        seen.extend(fresh)
        newest_s = max((fact.t_s for fact in seen if isinstance(fact, f.PoolSample)), default=0.0)
        if newest_s >= ended_s + SETTLE_S:
            return True
        running.check_alive()
        return False

    if not came_true(settled, AGENT_TIMEOUT_S) and newest_s:
        raise StackError(
            f"the agent wrote no sample for {AGENT_TIMEOUT_S:g} s after the last response; "
            f"its newest is {recorder.now_s() - newest_s:.1f} s old"
        )

    def at_work() -> tuple[f.CheckOut, ...]:
        return tuple(
            out
            for out in latest(seen)
            if began_s <= out.taken_s <= ended_s + SETTLE_S
            and out.request_ended_s is None
            and out.returned_s is None
        )

    came_true(lambda: settled() and not at_work(), WORK_TIMEOUT_S)
    last = watcher.finish()
    recorder.write(last)
    seen += last
    processes = tuple(fact for fact in seen if isinstance(fact, f.AgentProcess))
    samples = tuple(fact for fact in seen if isinstance(fact, f.PoolSample))
    routes = {route for process in processes for route in process.routes}
    return CheckResult(
        answers=tuple(answers),
        leaked=tuple(
            out for out in latest(seen) if out.request_ended_s is not None and out.returned_s is None
        ),
        at_work=at_work(),
        unrequested=tuple(sorted(unrequested(routes, requests))),
        samples=len(samples),
        unseen=len(fell_silent(f.History(environment=None, processes=processes, pools=samples), ended_s)),
    )


def latest(facts: Iterable[f.PoolFact]) -> Iterable[f.CheckOut]:
    """Return the last that was said of each check-out."""
    return {(fact.pid, fact.id): fact for fact in facts if isinstance(fact, f.CheckOut)}.values()


def send(base_url: str, request: Request) -> Answer:
    """Send a request on a connection of its own; the whole body is read before it counts as answered."""
    where = urlsplit(base_url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=REQUEST_TIMEOUT_S)
    headers = {"Content-Type": "application/json"} if request.body else {}
    began = time.monotonic()
    status, error = None, None
    try:
        connection.request(request.method, request.path, body=request.body, headers=headers)
        response = connection.getresponse()
        response.read()
        status = response.status
    except (OSError, http.client.HTTPException) as caught:
        error = f"{type(caught).__name__}: {caught}"
    finally:
        connection.close()
    return Answer(request, status, (time.monotonic() - began) * 1000, error)
