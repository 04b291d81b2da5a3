"""Runs of the flows: a real sandbox at the other end of HTTP, and a real Prefect API."""
