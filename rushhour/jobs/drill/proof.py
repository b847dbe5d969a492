"""Which services were touched: two snapshots compared, field by field (pure)."""

from collections.abc import Sequence

from rushhour.jobs.drill.facts import Change
from rushhour.rundir.facts import Instance, ServiceState


def compare(before: Sequence[ServiceState], after: Sequence[ServiceState]) -> tuple[Change, ...]:
    """Compare two snapshots: a change for each service of either, in order of name."""
    old = {state.name: state for state in before}
    new = {state.name: state for state in after}
    return tuple(_change(name, old.get(name), new.get(name)) for name in sorted({*old, *new}))


def _change(name: str, old: ServiceState | None, new: ServiceState | None) -> Change:
    if old is None or new is None:
        return Change(name, "restarted", ("appeared" if old is None else "is gone",))
    how = []
    if old.id != new.id:
        how.append(f"service id {old.id[:12]} -> {new.id[:12]}")
    how += _instances(old.instances, new.instances)
    written = []
    if old.spec != new.spec:
        written.append(f"definition {old.spec[:12]} -> {new.spec[:12]}")
    if old.version != new.version:
        written.append(f"version {old.version} -> {new.version}")
    if how:
        return Change(name, "restarted", (*how, *written))
    return Change(name, "rewritten", tuple(written)) if written else Change(name, "untouched")


def _instances(old: Sequence[Instance], new: Sequence[Instance]) -> list[str]:
    before = {item.task: item for item in old}
    after = {item.task: item for item in new}
    differences = [f"task {task[:12]} is gone" for task in sorted(before.keys() - after.keys())]
    differences += [f"task {task[:12]} is new" for task in sorted(after.keys() - before.keys())]
    for task in sorted(before.keys() & after.keys()):
        for field in ("container", "started_at", "image", "restarts"):
            was, now = getattr(before[task], field), getattr(after[task], field)
            if was != now:
                differences.append(f"{field.replace('_', ' ')} {was} -> {now}")
    return differences
