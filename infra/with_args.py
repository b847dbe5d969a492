"""Runs a command with the words of the variable ARGS appended: `python infra/with_args.py COMMAND...`.

The Makefile's targets use it. ARGS is split as a shell splits it, and nothing in it is expanded or run.
"""

import os
import shlex
import sys

BAD_USAGE = 64


def main() -> int:
    """Becomes the command; returns only when ARGS cannot be split, or the command cannot be started."""
    given = os.environ.get("ARGS", "")
    try:
        words = shlex.split(given)
    except ValueError as error:
        sys.stderr.write(f"ARGS cannot be split into words ({error}): {given}\n")
        return BAD_USAGE
    command = [*sys.argv[1:], *words]
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is the Makefile's
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
