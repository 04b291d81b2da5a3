"""A client to be measured: does one job of `benchmarks.jobs` each time it is told to."""

from __future__ import annotations

import json
import resource
import sys
import time

from benchmarks import jobs


def main() -> None:
    """Get ready, wait for the word, do the job, and tell what it took: again and again."""
    asked = json.loads(sys.stdin.readline())
    job = getattr(jobs, asked["job"])(asked["base_url"], asked["ids"], **asked["options"])
    while True:
        print("ready ", flush=True)
        if not sys.stdin.readline():
            return
        cpu = _cpu()
        began = time.monotonic()
        job()
        result = {
            "seconds": time.monotonic() - began,
            "cpu": _cpu() - cpu,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "function_began": jobs.FUNCTION_BEGAN[-1] if jobs.FUNCTION_BEGAN else began,
        }
        print("result", json.dumps(result), flush=True)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
