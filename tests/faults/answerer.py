"""The process behind `Caller`: a line of arguments in, a line of [exit code, output, megabytes grown] out."""

import contextlib
import io
import json
import os
import resource
import sys

from rushhour.cli.main import _exit_of


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        before, output = peak_mb(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = int(_exit_of(json.loads(line)))
        answers.write(json.dumps([code, output.getvalue()[-4000:], peak_mb() - before]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
