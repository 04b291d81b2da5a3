"""Jobs worth scheduling: recalibrate, export, check for drift."""
