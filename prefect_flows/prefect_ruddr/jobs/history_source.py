"""Where a recalibration's history comes from: a file, the rows of a query, or a frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from prefect_ruddr.errors import HistoryRefused, InvalidStageUpdates
from prefect_ruddr.sources.files import read_rows
from prefect_ruddr.sources.opening import SourceFormat
from prefect_ruddr.sources.rows import RawRow
from prefect_ruddr.sources.tables import table_rows


# Not a dataclass: Prefect would walk through every row of it when it is handed to a task.
@frozen
class HistorySource:
    """A history that is yet to be read.

    Attributes:
        history: A path, a URL, rows that know their columns, or a frame.
        format: What kind of file it is; None for what its name says.
        encoding: How a text file is encoded.
        delimiter: The character between two cells of a CSV file.
    """

    history: Any
    format: SourceFormat | None = None
    encoding: str = "utf-8"
    delimiter: str = ","

    def rows(self) -> Iterator[RawRow]:
        """Yield the rows, each with its place.

        Raises:
            HistoryRefused: When it is no table, or its header is wrong.
            SourceUnreadable: When the file cannot be opened, or not be read to its end.
        """
        try:
            yield from self._rows()
        except InvalidStageUpdates as error:
            raise HistoryRefused(error.errors) from None

    def _rows(self) -> Iterable[RawRow]:
        if isinstance(self.history, str | os.PathLike):
            return read_rows(
                self.history,
                format=self.format,
                encoding=self.encoding,
                delimiter=self.delimiter,
            )
        return table_rows(self.history)
