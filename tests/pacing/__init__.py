"""The request budget of a workspace."""
