"""A client to be measured: does one job of `benchmarks.jobs` when it is told to."""

from __future__ import annotations

import json
import resource
import sys
import time

from benchmarks import jobs


def main() -> None:
    """Get ready, wait for the word, do the job, and tell what it took."""
    asked = json.loads(sys.stdin.readline())
    job = getattr(jobs, asked["job"])(asked["base_url"], asked["ids"], **asked["options"])
    print("ready ", flush=True)
    sys.stdin.readline()
    cpu = _cpu()
    began = time.perf_counter()
    job()
    seconds = time.perf_counter() - began
    taken = _cpu() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("result", json.dumps({"seconds": seconds, "cpu": taken, "peak": peak}), flush=True)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
