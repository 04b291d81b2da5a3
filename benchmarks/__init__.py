"""Benchmarks: ours, the alternative and the floor, side by side in one run. `make bench`."""
