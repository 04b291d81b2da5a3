"""Who may send a request, and when."""
