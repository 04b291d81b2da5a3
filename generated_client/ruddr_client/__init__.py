"""A client library for accessing Ruddr workspace API, opportunity stages"""

from .client import AuthenticatedClient, Client

__all__ = (
    "AuthenticatedClient",
    "Client",
)
