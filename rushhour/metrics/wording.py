"""Numbers in sentences (pure)."""


def counted(count: int, noun: str) -> str:
    """`1 connection`, `5,845 requests`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
