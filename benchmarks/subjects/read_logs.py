"""Reads access logs to their end, and prints what it took as JSON."""

import json
import resource
import sys
import time

from benchmarks.usage import Used
from rushhour.jobs.traffic.reading import read


def main(paths: list[str]) -> None:
    cpu_s = time.process_time()
    reading = read(paths)
    requests = sum(1 for _ in reading)
    took = {
        "requests": requests,
        "lines": reading.report.lines,
        "cpu_s": time.process_time() - cpu_s,
        "peak_mb": Used.of(resource.getrusage(resource.RUSAGE_SELF)).peak_mb,
    }
    sys.stdout.write(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1:])
