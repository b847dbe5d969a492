"""Applies faults to a server of the embedded stack, and undoes them."""

import signal
from contextlib import suppress
from typing import Final

import psutil

from rushhour.process.meter import Meter, MeterReading
from rushhour.stack.postgres.server import PostgresServer

STOP_TIMEOUT_S: Final = 10.0


class RenewableMeter:
    """Reads one component, also when it has been started again under another pid."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    @property
    def limit_cores(self) -> float | None:
        return self.meter.limit_cores

    def read(self) -> MeterReading:
        """Read now; raises ProcessLookupError while the component is down."""
        return self.meter.read()


def pause(server: PostgresServer) -> None:
    """Stop every process of the server: its connections stay open and do not answer."""
    server.child.process.send_signal(signal.SIGSTOP)  # first: a stopped postmaster starts no more backends
    for process in _backends(server):
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            process.suspend()


def unpause(server: PostgresServer) -> None:
    """Continue every process of a paused server; does nothing for a server that is not paused."""
    if server.child.poll() is not None:
        return
    for process in _backends(server):
        with suppress(psutil.NoSuchProcess):
            process.resume()
    server.child.process.send_signal(signal.SIGCONT)


def stop(server: PostgresServer) -> None:
    """Shut the server down cleanly, its clients' sessions ended. Raises StackError when it does not end."""
    server.child.process.send_signal(signal.SIGINT)
    server.child.wait(STOP_TIMEOUT_S)


def kill(server: PostgresServer) -> None:
    """End every process of the server at once, as a power cut does: the kernel closes its connections."""
    server.child.process.send_signal(signal.SIGSTOP)  # first, as above: none may be started and overlooked
    backends = _backends(server)
    server.child.process.kill()
    for process in backends:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.child.wait(STOP_TIMEOUT_S)
    psutil.wait_procs(backends, timeout=STOP_TIMEOUT_S)


def _backends(server: PostgresServer) -> list[psutil.Process]:
    try:
        return psutil.Process(server.child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
