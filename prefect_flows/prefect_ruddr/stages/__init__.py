"""The words: a stage, an update, a plan, an outcome. Pure."""
