"""Assigns numbers to pools, lines and stacks; the file defines each number before using it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import records as r
    from .book import PoolState
    from .call_sites import Site, Stack
    from .journal import Record


class Catalog:
    """The numbers of a file. Each method returns a number, and queues the record that defines it."""

    def __init__(self) -> None:
        self.out: list[Record] = []
        self._lines: dict[tuple[str, int, str], int] = {}
        self._stacks: dict[Stack, int] = {}
        self._pools: dict[int, tuple[str | None, int | None, str | None]] = {}

    def take(self) -> list[Record]:
        """Return the definitions since the last call; write them before the records that use them."""
        taken, self.out = self.out, []
        return taken

    def pool(self, state: PoolState) -> int:
        """Return the number of a pool, which is defined again once its address is known."""
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
        """Return the number of the innermost frame."""
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
