"""A process that is killed in the middle of a run leaves nothing that a second run cannot mend."""
