"""The console script, and `python -m rushhour`."""

import sys

INTERRUPTED = 130  # as in rushhour.cli, which is not loaded yet


def run() -> None:
    """Load the commands and run them; an interrupt during that second is reported in words, too."""
    try:
        from rushhour.cli import main  # noqa: PLC0415 - what is loaded here takes most of a second
    except KeyboardInterrupt:
        sys.stderr.write("rushhour: interrupted before anything was started\n")
        sys.exit(INTERRUPTED)
    main()


if __name__ == "__main__":
    run()
