"""From the history of deals to win probabilities: judged rows, estimates, decisions, pictures."""
