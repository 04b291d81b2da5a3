"""The sandbox, over real HTTP and as a real process."""
