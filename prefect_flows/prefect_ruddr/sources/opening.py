"""Opens files of updates wherever fsspec finds them; no message shows what is secret in a URL."""

from __future__ import annotations

import codecs
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import PurePosixPath
from typing import IO, Literal, TypeAlias

import fsspec  # type: ignore[import-untyped]
from fsspec.utils import infer_compression  # type: ignore[import-untyped]

from prefect_ruddr.errors import InvalidStageUpdates, SourceUnreadable
from prefect_ruddr.texts import bounded

SourceFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]
"""What a file of updates may be: CSV, JSON Lines, or Parquet."""

FORMATS: dict[str, SourceFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""The format that a file's name says, with or without .gz, .bz2, .xz or .zip behind it."""


def file_name(url: str) -> str:
    """Return the name of the file at a path or URL, which is what messages call it."""
    return PurePosixPath(_public(url.split("::", maxsplit=1)[0])).name


def format_of(name: str) -> SourceFormat:
    """Return the format that a file's name says.

    Raises:
        InvalidStageUpdates: When it says none.
    """
    compressed = infer_compression(name) is not None
    path = PurePosixPath(name)
    suffix = PurePosixPath(path.stem if compressed else name).suffix.lower()
    if suffix not in FORMATS:
        raise InvalidStageUpdates(
            [f"{name}: its name does not say its format: give csv, jsonl or parquet as format"]
        )
    return FORMATS[suffix]


@contextmanager
def opened(url: str, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked where its name says that it is compressed.

    Raises:
        SourceUnreadable: When it cannot be opened, or reading it breaks off.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(fsspec.open(url, "rb", compression=infer_compression(name)))
        except Exception as error:  # noqa: BLE001 - each protocol's package raises its own
            raise SourceUnreadable(f"{_public(url)}: {_reason(error)}") from None
        try:
            yield file
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise SourceUnreadable(f"{_public(url)}: {_reason(error)}") from None


def decoded(file: IO[bytes], encoding: str) -> TextIOWrapper:
    """Open a text in which a byte that is no text is a mark on its line, not the end.

    Raises:
        InvalidStageUpdates: When there is no such encoding.
    """
    try:
        # UTF-8 with a byte order mark or without: spreadsheets write one.
        codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        return TextIOWrapper(file, codec, errors="surrogateescape", newline="")
    except LookupError:
        raise InvalidStageUpdates([f"encoding = {encoding!r}: no such encoding"]) from None


def _public(url: str) -> str:
    """Return a URL without what may be secret in it: a user's password, a signed query."""
    return re.sub(r"(://)[^/@\s]*@", r"\1", re.sub(r"(://[^?\s]*)\?\S*", r"\1", url))


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = error.strerror if isinstance(error, OSError) else None
    return bounded(_public(text or str(error))) or type(error).__name__
