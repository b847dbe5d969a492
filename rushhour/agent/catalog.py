"""Numbers for what a file mentions often: said once with its meaning, then by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import records as r
    from .book import PoolState
    from .call_sites import Site, Stack
    from .journal import Record


class Catalog:
    """Of one file. Each method returns a number, after it put the record that explains it into `out`."""

    def __init__(self) -> None:
        self.out: list[Record] = []
        self._lines: dict[tuple[str, int, str], int] = {}
        self._stacks: dict[Stack, int] = {}
        self._pools: dict[int, tuple[str | None, int | None, str | None]] = {}

    def take(self) -> list[Record]:
        """The explanations since the last call; they go before the records that need them."""
        taken, self.out = self.out, []
        return taken

    def pool(self, state: PoolState) -> int:
        """Explained again when its address became known."""
        if self._pools.get(state.id) != state.address:
            self._pools[state.id] = state.address
            host, port, database = state.address
            pool: r.Pool = {
                "k": "pool",
                "id": state.id,
                "kind": state.kind,
                "host": host,
                "port": port,
                "db": database,
            }
            self.out.append(pool)
        return state.id

    def forget_pool(self, state: PoolState) -> None:
        self._pools.pop(state.id, None)

    def site(self, stack: Stack) -> int:
        """The innermost frame."""
        return self.line(stack.sites[0])

    def stack(self, stack: Stack) -> int:
        number = self._stacks.get(stack)
        if number is None:
            lines = [self.line(site) for site in stack.sites]
            number = self._stacks[stack] = len(self._stacks) + 1
            record: r.Stack = {"k": "stack", "id": number, "sites": lines}
            self.out.append(record)
        return number

    def line(self, site: Site) -> int:
        key = (site.file, site.line, site.function)
        number = self._lines.get(key)
        if number is None:
            number = self._lines[key] = len(self._lines) + 1
            file, line, function = key
            record: r.Line = {"k": "line", "id": number, "file": file, "line": line, "function": function}
            self.out.append(record)
        return number
