"""Whether a Ruddr is what `openapi.yaml` says; knows no Prefect."""
