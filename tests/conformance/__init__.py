"""A Ruddr compared with the contract: see prefect_ruddr.conformance."""
