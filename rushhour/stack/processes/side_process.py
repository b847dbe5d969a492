"""Processes beside the service: its partner, and relays between it and a server."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, on_free_ports
from rushhour.scenario.model import Scenario
from rushhour.stack import relay
from rushhour.stack.processes.service import (
    placeholders,
    require_program,
    service_environment,
    split_command,
)

START_TIMEOUT_S: Final = 10.0
STOP_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Beside:
    """A process that listens on a port of the loopback interface."""

    port: int
    child: Child

    def cut(self) -> None:
        """Nothing passes any more: a stopped process accepts and answers nothing."""
        self.child.process.send_signal(signal.SIGSTOP)

    def restore(self) -> None:
        """Let it pass what has come meanwhile, and what comes."""
        if self.child.poll() is None:
            self.child.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.restore()  # a stopped process would not hear its stop signal
        self.child.stop(STOP_GRACE_S)


def start_relay(
    guard: Guard, server: str, server_port: int, *, log: Path, choose_port: Callable[[], int]
) -> Beside:
    """Start a relay to a server. Raises StackError when it does not listen."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-I", str(Path(relay.__file__)), str(port), str(server_port)]

    return listening(
        f"relay to the {server}",
        lambda port: start(guard, "relay", command(port), log=log, environment={}),
        choose_port,
    )


def start_partner(guard: Guard, scenario: Scenario, *, log: Path, choose_port: Callable[[], int]) -> Beside:
    """Start the scenario's `service.partner`, in the service's environment. Raises StackError."""
    root = Path(scenario.target.root)

    def begin(port: int) -> Child:
        values = placeholders(scenario, port, "", "", log.parent)
        command = split_command(scenario.service.partner, values, "service.partner")
        environment = service_environment(scenario, values, os.environ)
        require_program(command, environment, root)
        return start(guard, "partner", command, log=log, environment=environment, cwd=root)

    return listening("partner", begin, choose_port)


def listening(name: str, begin: Callable[[int], Child], choose_port: Callable[[], int]) -> Beside:
    """Started and accepting connections; tries other ports when its port was taken meanwhile."""

    def attempt(port: int) -> Beside:
        child = begin(port)

        def refusal() -> str | None:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
            except OSError as error:
                return str(error)
            return None

        what = f"the {name} to listen on port {port}"
        child.wait_until_up(what, refusal, START_TIMEOUT_S, grace_s=STOP_GRACE_S)
        return Beside(port, child)

    return on_free_ports(choose_port, attempt)
