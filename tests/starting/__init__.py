"""Every way in which a user's flow starts, each to its end and back again."""
