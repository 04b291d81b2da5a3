"""One run inside Prefect: from what somebody wants to the report of what was done."""
