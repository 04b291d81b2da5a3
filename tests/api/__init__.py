"""Asking Ruddr, over real sockets."""
