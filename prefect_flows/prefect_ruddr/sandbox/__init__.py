"""A local Ruddr for trying, testing and benchmarking: same contract, same limits.

`Sandbox` runs it inside a test; `python -m prefect_ruddr.sandbox` runs it on its own.
"""

from prefect_ruddr.sandbox.answers import Refused
from prefect_ruddr.sandbox.bucket import TokenBucket
from prefect_ruddr.sandbox.faults import Fault
from prefect_ruddr.sandbox.recording import RecordedRequest
from prefect_ruddr.sandbox.sample import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID
from prefect_ruddr.sandbox.sandbox import Sandbox
from prefect_ruddr.sandbox.state_file import StateFileError

__all__ = [
    "EXAMPLE_PIPELINE_ID",
    "EXAMPLE_STAGE_ID",
    "Fault",
    "RecordedRequest",
    "Refused",
    "Sandbox",
    "StateFileError",
    "TokenBucket",
]
