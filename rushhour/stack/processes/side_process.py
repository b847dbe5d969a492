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
class SideProcess:
    """A process beside the service that listens on a loopback port."""

    port: int
    child: Child

    def cut(self) -> None:
        """Block all traffic by stopping the process."""
        self.child.process.send_signal(signal.SIGSTOP)

    def restore(self) -> None:
        """Let traffic pass again, including what arrived meanwhile."""
        if self.child.poll() is None:
            self.child.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.restore()  # a stopped process would not receive its stop signal
        self.child.stop(STOP_GRACE_S)


def start_relay(
    guard: Guard, server: str, server_port: int, *, log: Path, choose_port: Callable[[], int]
) -> SideProcess:
    """Start a relay to a server. Raises StackError when it does not listen."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-I", str(Path(relay.__file__)), str(port), str(server_port)]

    return start_listening(
        f"relay to the {server}",
        lambda port: start(guard, "relay", command(port), log=log, environment={}),
        choose_port,
    )


def start_partner(
    guard: Guard, scenario: Scenario, *, log: Path, choose_port: Callable[[], int]
) -> SideProcess:
    """Start the scenario's `service.partner`, in the service's environment. Raises StackError."""
    root = Path(scenario.target.root)

    def begin(port: int) -> Child:
        values = placeholders(scenario, port, "", "", log.parent)
        command = split_command(scenario.service.partner, values, "service.partner")
        environment = service_environment(scenario, values, os.environ)
        require_program(command, environment, root)
        return start(guard, "partner", command, log=log, environment=environment, cwd=root)

    return start_listening("partner", begin, choose_port)


def start_listening(name: str, begin: Callable[[int], Child], choose_port: Callable[[], int]) -> SideProcess:
    """Start a process and wait until it accepts connections; tries other ports if its port is taken."""

    def attempt(port: int) -> SideProcess:
        child = begin(port)

        def refusal() -> str | None:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
            except OSError as error:
                return str(error)
            return None

        what = f"the {name} to listen on port {port}"
        child.wait_until_up(what, refusal, START_TIMEOUT_S, grace_s=STOP_GRACE_S)
        return SideProcess(port, child)

    return on_free_ports(choose_port, attempt)
