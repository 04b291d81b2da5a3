"""Reads rows of Parquet files, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import IO, Any

from prefect_ruddr.errors import RuddrError, SourceUnreadable
from prefect_ruddr.sources.tables import TableRow
from prefect_ruddr.texts import one_line

BATCH_ROWS = 1000
"""How many rows of a Parquet file are in memory at once before they become updates."""


def require_pyarrow(name: str) -> Any:
    """Return pyarrow's module for Parquet files.

    Raises:
        SourceUnreadable: When it is not installed.
    """
    try:
        from pyarrow import parquet  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    except ImportError:
        raise SourceUnreadable(
            f"{name}: Parquet needs pyarrow: pip install 'prefect-ruddr[parquet]'"
        ) from None
    return parquet


def parquet_rows(file: IO[bytes], name: str) -> Iterator[TableRow]:
    """Yield the header of a Parquet file, then its rows.

    Args:
        file: The bytes.
        name: What messages call the file.

    Raises:
        SourceUnreadable: When it cannot be read to its end, or pyarrow is not installed.
    """
    parquet = require_pyarrow(name)
    rows = _rows(parquet, file, name)
    while True:
        try:
            row = next(rows, None)
        except RuddrError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged file can raise anything in pyarrow
            reason = one_line(str(error)) or type(error).__name__
            raise SourceUnreadable(f"{name}: {reason}") from None
        if row is None:
            return
        yield row


def stages_parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Return stages as the content of a Parquet file.

    Args:
        rows: The values of each stage by the names of the columns.
        columns: The columns.

    Raises:
        SourceUnreadable: When pyarrow is not installed.
    """
    parquet = require_pyarrow("export")
    import pyarrow  # noqa: PLC0415 - an extra

    types = {"probability": pyarrow.float64(), "is_active": pyarrow.bool_()}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in columns])
    content = BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), content)
    return content.getvalue()


def _rows(parquet: Any, file: IO[bytes], name: str) -> Iterator[TableRow]:
    content = parquet.ParquetFile(file)
    columns = tuple(content.schema_arrow.names)
    yield TableRow(columns, None, name)
    number = 0
    for batch in content.iter_batches(BATCH_ROWS):
        for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield TableRow(columns, cells, f"{name} row {number}")
