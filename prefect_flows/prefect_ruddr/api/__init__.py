"""Asks Ruddr, and judges its answers; knows no Prefect."""
