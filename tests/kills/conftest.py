"""The same Prefect API and the same way to act on a request as for other runs."""

from runs.conftest import on_request

__all__ = ["on_request"]
