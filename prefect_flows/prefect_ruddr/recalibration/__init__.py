"""From the history of deals to the win probability of each open stage. Pure; pictures apart."""
