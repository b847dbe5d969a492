"""Counts the engines that each line creates; many pools of a line are merged into one.

A service that creates an engine for each request has thousands of pools. Sampling each of them would be too
expensive, so the first pools of a line are sampled separately, and the rest together.
"""

from __future__ import annotations

import weakref
from typing import Any

from .book import Address, Book, PoolState
from .call_sites import Stack

SEPARATE = 8  # living pools of one line and one address
SEPARATE_ADDRESSES = 32  # living pools of one line: an engine for each of a few databases is as it should be


class MergedPools:
    """Stands in a PoolState for all further pools of one line: without a limit, for each brings its own."""


class CreationSite:
    """A line that creates engines. The service's threads write it, with single operations only."""

    __slots__ = ("made", "merged", "newest", "pools", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.made = 0
        self.pools: weakref.WeakSet[Any] = weakref.WeakSet()  # that live
        self.newest: list[PoolState] = []  # watched one by one
        self.merged: dict[Address, tuple[PoolState, MergedPools]] = {}


def made_at(book: Book, pool: Any, address: Address, stack: Stack) -> PoolState:
    """Return the state of a new engine's pool: its own, or that of the line's merged pools."""
    line = stack.sites[0]
    key = (line.file, line.line, line.function)
    site: CreationSite = book.creations.setdefault(key, CreationSite(stack))
    site.made += 1
    site.pools.add(pool)
    if "_rushhour_state" in pool.__dict__:  # an engine over a pool that is known already
        return book.pool_state(pool, address)
    site.newest = living = [state for state in site.newest if state.pool() is not None]
    alike = sum(state.address == address for state in living)
    if alike >= SEPARATE or len(living) >= SEPARATE_ADDRESSES:
        state = _merged(book, site, address if alike >= SEPARATE else (address[0], address[1], None))
        kept: PoolState = pool.__dict__.setdefault("_rushhour_state", state)
        return kept
    state = book.pool_state(pool, address)
    living.append(state)
    return state


def is_merged(state: PoolState) -> bool:
    """Return whether a state stands for many pools."""
    return isinstance(state.pool(), MergedPools)


def _merged(book: Book, site: CreationSite, address: Address) -> PoolState:
    found = site.merged.get(address)
    if found is None:
        together = MergedPools()
        state = book.pool_state(together, address)
        found = site.merged.setdefault(address, (state, together))
    return found[0]
