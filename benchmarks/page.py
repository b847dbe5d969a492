"""A page that costs next to nothing to answer, for benchmarks of the generator.

It answers as the service does: lists as long as the seeded customers', small answers to all else.
"""

import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Final

from rushhour.stack.postgres.seeding.dataset import referrals_of

LIST_PATH: Final = re.compile(rb"GET /customers/(\d+)/referrals").match
# One referral of the list, as long as the service's are.
REFERRAL: Final = (
    '{"id":%d,"invitee_email":"friend@example.test","channel":"link","created_at":"2026-01-01T10:00:00+00:00",'
    '"campaign":"spring","product":"account","status":"rewarded","status_since":"2026-03-01T10:00:00+00:00",'
    '"timeline":[{"status" : "invited", "at" : "2026-01-01T10:00:00+00:00"}, {"status" : "joined", '
    '"at" : "2026-02-01T10:00:00+00:00"}, {"status" : "rewarded", "at" : "2026-03-01T10:00:00+00:00"}],'
    '"rewards":[{"for" : "customer", "cents" : 2500, "payout" : "paid", '
    '"since" : "2026-03-02T10:00:00+00:00"}],'
    '"earned_so_far_cents":250000,"earned_in_campaign_cents":50000,"number_in_campaign":7}'
)


def answer(body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


OTHER: Final = answer('{"token":"t"}')  # log-in, summary, one referral, an invitation


@cache
def list_of(count: int) -> bytes:
    """A list of so many referrals."""
    referrals = ", \n ".join(REFERRAL % number for number in range(1, count + 1))
    return answer(f'{{"customer_id":1,"referrals":[{referrals}]}}')


def page_server() -> AbstractContextManager[str]:
    """The page on a free port of loopback; its URL."""
    return served("benchmarks.page")


@contextmanager
def served(module: str, *arguments: str) -> Iterator[str]:
    """What a module serves in a process of its own; the URL is the first line that it prints."""
    # Its stdin closes with this process, however that ends.
    server = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"{module} ended before it served")
        yield url
    finally:
        server.kill()
        server.wait(5)
        server.stdin.close()
        server.stdout.close()


def serve() -> None:
    """Answer whatever comes, until killed or stdin closes: two system calls a request."""
    raise_open_files()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                return
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            asked = b""
            with suppress(ConnectionError):
                asked = os.read(number, 4096)
                if asked:
                    connections[number].sendall(page(asked))
            if not asked:
                poll.unregister(number)
                connections.pop(number).close()


def page(asked: bytes) -> bytes:
    """The answer to a request."""
    listed = LIST_PATH(asked)
    return list_of(referrals_of(int(listed[1]))) if listed else OTHER


def raise_open_files() -> None:
    """Let this process keep as many connections open as the system allows it."""
    import resource  # noqa: PLC0415  # not on every system that imports this module

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    serve()
