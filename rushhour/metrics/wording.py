"""Formats counts for sentences (pure)."""


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: `1 connection`, `5,845 requests`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def counted_were(count: int, noun: str) -> str:
    """Begin a sentence of what was: `1 process was`, `2 processes were`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"1 {noun} was" if count == 1 else f"{count} {plural} were"


def most_out(count: int, capacity: int | None, processes: int = 1) -> str:
    """Format the highest sampled number of check-outs: `at most 12 of 30 connections out (sampled)`.

    The agent takes ten samples per second; between two of them the pool may have been fuller.
    """
    of = "" if capacity is None else f" of {capacity}"
    where = f" in one of {processes} processes" if processes > 1 else ""
    if not count:
        return f"no connection{of} out in any sample{where}"
    noun = "connection" if count == 1 and capacity is None else "connections"
    return f"at most {count}{of} {noun} out{where} (sampled)"
