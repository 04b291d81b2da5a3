"""Serve one of our flows: `python our_flows.py NAME`."""

import sys

from prefect_ruddr import flows

if __name__ == "__main__":
    getattr(flows, sys.argv[1]).serve(name="served")
