"""Jobs worth scheduling around the plan: recalibrate, export, check for drift."""
