"""Creates and leaves the Swarm of a drill, known by its label; any other Swarm is refused.

Run as `python -m rushhour.stack.swarm.own_swarm BASE_URL WORK`: the guard does when the harness ends.
"""

# The stubs of docker-py leave its Swarm calls untyped.
# mypy: allow-untyped-calls

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import docker
from docker import APIClient
from docker.errors import APIError, NotFound

from rushhour.errors import StackError
from rushhour.process.ports import HOST
from rushhour.stack.compose.engine import (
    ENGINE_ERRORS,
    Engine,
    engine_url,
    find_engine,
    last_reason,
    local_host,
)
from rushhour.stack.owner import WORK_LABEL, has_ended, owner_labels

BRIDGE_LABEL: Final = "rushhour.bridge"  # "ours" when the Swarm brought docker_gwbridge with it
STACK_LABEL: Final = "com.docker.stack.namespace"
STACK: Final = "rushhour-drill"
BRIDGE: Final = "docker_gwbridge"
LEAVE_S: Final = 30.0
DEATH_S: Final = 10.0
POLL_S: Final = 0.1


def find_local_engine() -> Engine:
    """Find the engine on this machine. Raises StackError for an engine elsewhere, also by the context alone.

    DOCKER_HOST may lead here while the context leads to production: there the printed command would land.
    """
    engine = find_engine()
    try:
        local_host(engine_url({}), None)
    except StackError as error:
        raise StackError(f"Docker's context in use leads elsewhere: {error}") from error
    return engine


def state(api: APIClient) -> str:
    """Return the node's Swarm state: "inactive", "active", "pending", "locked" or "error"."""
    return str(api.info()["Swarm"]["LocalNodeState"])


def make(api: APIClient, work: Path) -> None:
    """Make a Swarm of one node that listens on the loopback interface. Raises StackError if there is one."""
    refuse_foreign(api)
    bridge = "found" if api.networks(names=[BRIDGE]) else "ours"
    spec = api.create_swarm_spec(labels={**owner_labels(work), BRIDGE_LABEL: bridge})
    api.init_swarm(advertise_addr=HOST, listen_addr=f"{HOST}:2377", swarm_spec=spec)


def refuse_foreign(api: APIClient) -> None:
    """Raises StackError unless this node is in no Swarm; one that a dead drill left is removed first."""
    if state(api) == "inactive":
        return
    leave_dead(api)
    if (now := state(api)) == "inactive":
        return
    raise StackError(
        f"this engine is in a Swarm already ({now}; {_what_runs(api)}), which the drill did not make and "
        "leaves alone; run the drill on another engine, or leave that Swarm: docker swarm leave --force"
    )


def _what_runs(api: APIClient) -> str:
    try:
        return f"{len(api.nodes())} nodes, {len(api.services())} services"
    except ENGINE_ERRORS as error:
        return last_reason(error)


def labels(api: APIClient) -> dict[str, str]:
    """Return the labels of the cluster; empty if this node cannot read them."""
    try:
        return dict(api.inspect_swarm()["Spec"].get("Labels") or {})
    except APIError:
        return {}


def leave_dead(api: APIClient) -> bool:
    """Leave the Swarm of a drill whose harness has ended without its guard; whether there was one."""
    if state(api) != "active":
        return False
    found = labels(api)
    if not has_ended(found):
        return False
    leave(api, found[WORK_LABEL])
    return True


def leave(api: APIClient, work: str, timeout_s: float = LEAVE_S) -> None:
    """Leave the Swarm of `work`, and remove what the stack left in the engine.

    Raises StackError, with what is there, when somebody else has put services into it, or something stays.
    """
    deadline = time.monotonic() + timeout_s
    bridge = "found"
    if state(api) == "active":
        found = labels(api)
        if found.get(WORK_LABEL) != work:
            raise StackError("the Swarm on this engine is not the drill's, so it was not left")
        foreign = [
            service["Spec"]["Name"]
            for service in api.services()
            if (service["Spec"].get("Labels") or {}).get(STACK_LABEL) != STACK
        ]
        if foreign:
            raise StackError(
                f"the drill's Swarm now holds services that are not its own: {', '.join(foreign)}"
            )
        bridge = found.get(BRIDGE_LABEL, "found")
        api.leave_swarm(force=True)  # the engine ends every task with it
    while left := _left(api, with_bridge=bridge == "ours"):
        refusals = [why for part in left if (why := _remove(api, *part)) is not None]
        if time.monotonic() > deadline and refusals:
            raise StackError(f"the drill's stack was not removed within {timeout_s:g} s; left are:", refusals)
        if refusals:
            time.sleep(POLL_S)


def _left(api: APIClient, *, with_bridge: bool) -> list[tuple[str, str]]:
    """Return kind and name of what is left, containers first because they use the others."""
    label = {"label": f"{STACK_LABEL}={STACK}"}
    found = [("container", str(container["Id"])) for container in api.containers(all=True, filters=label)]
    found += [("volume", str(volume["Name"])) for volume in api.volumes(filters=label)["Volumes"] or ()]
    found += [("network", str(network["Id"])) for network in api.networks(filters=label)]
    if with_bridge:
        found += [("network", str(network["Id"])) for network in api.networks(names=[BRIDGE])]
    return found


def _remove(api: APIClient, kind: str, name: str) -> str | None:
    """Remove a part; return why that failed, or None if the part is gone."""
    remove: dict[str, Any] = {
        "container": lambda: api.remove_container(name, v=True, force=True),
        "volume": lambda: api.remove_volume(name, force=True),
        "network": lambda: api.remove_network(name),
    }
    try:
        remove[kind]()
    except NotFound:
        return None
    except APIError as error:
        return f"{kind} {name[:20]}: {error.explanation or error}"
    return None


def leaving_command(base_url: str, work: Path) -> list[str]:
    """Return what the guard runs when the harness ends."""
    return [sys.executable, "-m", "rushhour.stack.swarm.own_swarm", base_url, str(work)]


def leave_dead_swarm() -> list[str]:
    """Leave the Swarm of a dead drill; returns a line if there was any. Raises StackError if it stays."""
    try:
        engine = find_local_engine()
    except StackError:
        return []
    try:
        with closing(engine.client()) as client:
            return ["left the Swarm of a drill that died"] if leave_dead(client.api) else []
    except ENGINE_ERRORS as error:
        raise StackError(f"the container engine failed: {last_reason(error)}") from error


def main() -> int:
    """Leave the drill's Swarm; exits 1 when something is left."""
    base_url, work = sys.argv[1:]
    try:
        with closing(docker.APIClient(base_url=base_url, version="auto", timeout=int(DEATH_S))) as api:
            leave(api, work, DEATH_S)
    except (StackError, *ENGINE_ERRORS) as error:
        sys.stderr.write(f"the drill's Swarm was not left: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
