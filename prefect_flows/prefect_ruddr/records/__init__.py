"""What a run leaves in Prefect, and how it is found again."""
