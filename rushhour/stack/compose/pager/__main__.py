"""Records notifications until it is killed: `--notifications FILE --access-log FILE [--skip PATH]`."""

import argparse
from pathlib import Path

from .access_log import AccessLog
from .desk import serve


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="rushhour.stack.compose.pager")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--notifications", type=Path, required=True, help="where notifications are appended")
    parser.add_argument("--access-log", type=Path, required=True, help="of the service")
    parser.add_argument("--skip", default="", help="a path that nobody but probes asks for")
    given = parser.parse_args()
    serve(given.port, given.notifications, AccessLog(given.access_log, given.skip))


if __name__ == "__main__":
    main()
