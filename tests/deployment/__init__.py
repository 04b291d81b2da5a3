"""The deployments, on a Prefect server and a worker of their own."""
