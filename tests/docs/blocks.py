"""The blocks that the pages load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect_ruddr import RuddrCredentials


@contextmanager
def stored(ruddr_credentials: RuddrCredentials, name: str, warehouse: Path) -> Iterator[None]:
    """Store the key under a name, and an SQLite file as the warehouse, for as long as it takes."""
    # It takes most of a second to import.
    from prefect_sqlalchemy import (  # type: ignore[import-untyped]  # noqa: PLC0415
        ConnectionComponents,
        SqlAlchemyConnector,
        SyncDriver,
    )

    ruddr_credentials.save(name, overwrite=True)
    SqlAlchemyConnector(
        connection_info=ConnectionComponents(
            driver=SyncDriver.SQLITE_PYSQLITE, database=str(warehouse)
        )
    ).save("warehouse", overwrite=True)
    try:
        yield
    finally:
        RuddrCredentials.delete(name)
        SqlAlchemyConnector.delete("warehouse")
