"""Text that may go to a terminal, a page or XML (pure)."""

import re
from typing import Final

LONGEST_PATH: Final = 200
# With the marks that turn the direction of text, which can make a line read as another.
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

# What GitHub's runner carries out where a line of the log begins with it, after blanks.
_COMMAND: Final = re.compile(r"^(?=[ \t]*(?:::[A-Za-z][^\n]*::|##\[[A-Za-z]))", re.MULTILINE)


def shortened(path: object) -> str:
    """A path that fits into a message."""
    text = str(path)
    return text if len(text) <= LONGEST_PATH else f"{text[:LONGEST_PATH]}... ({len(text):,} characters)"


def clean(text: object) -> str:
    """Return text without control characters, which neither XML nor a terminal should get from a log line."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def without_commands(text: str) -> str:
    """Return text in which a bar precedes each line that a CI server's runner would carry out."""
    return _COMMAND.sub("| ", text)
