"""Opens and writes files wherever fsspec finds them; no message shows what is secret in a URL."""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, TypeAlias, TypeVar
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
from fsspec.compression import compr  # type: ignore[import-untyped]
from fsspec.utils import infer_compression  # type: ignore[import-untyped]

from prefect_ruddr.errors import ExportFailed, InvalidStageUpdates, SourceUnreadable
from prefect_ruddr.sources.rows import BrokenSource
from prefect_ruddr.texts import one_line, shown

SourceFormat: TypeAlias = Literal["csv", "jsonl", "parquet", "yaml"]
"""What a file may be: CSV, JSON Lines, Parquet, or YAML."""

FORMATS: dict[str, SourceFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".yaml": "yaml",
    ".yml": "yaml",
}
"""The format that a file's name says, with or without .gz, .bz2, .xz or .zip behind it."""

T = TypeVar("T")

LONGEST_ROW = 1 << 20
"""How many characters a line, or a CSV row of many lines, may have: fifty times the longest that
Ruddr's limits allow."""


def file_name(url: str) -> str:
    """Return the name of the file at a path or URL, which is what messages call it."""
    names = [PurePosixPath(public(part)).name for part in url.split("::")]
    # In `simplecache::s3://sales/stages.csv` the first part is no file.
    return one_line(next((name for name in names if PurePosixPath(name).suffix), names[0]))


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
            [
                f"{name}: its name does not say its format:"
                " give csv, jsonl, parquet or yaml as format"
            ]
        )
    return FORMATS[suffix]


@contextmanager
def opened(url: str, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked where its name says that it is compressed.

    Raises:
        SourceUnreadable: When it cannot be opened, or reading it breaks off.
    """
    _require_regular(url)
    try:
        source = fsspec.open(url, "rb", compression=infer_compression(name))
        file = source.open()
    except Exception as error:  # noqa: BLE001 - each protocol's package raises its own
        raise unreadable(url, error) from None
    # Closes the packed file too; what unpacks it would not.
    with closing(source), BufferedReader(_Guarded(file, url)) as guarded:
        yield guarded


def write_file(url: str, content: bytes) -> None:
    """Write a file, packed where its name says so.

    One on this machine is replaced in one step, and keeps who may read it.

    Raises:
        ExportFailed: When it cannot be written; the file that was there is as it was.
    """
    path = None if "::" in url else local_path(url)
    compression = infer_compression(file_name(url))
    try:
        if path:
            _replace(path, content, compression)
        else:
            with fsspec.open(url, "wb", compression=compression) as file:
                file.write(content)
    except Exception as error:  # noqa: BLE001 - each protocol's package raises its own
        reason = "no such folder" if isinstance(error, FileNotFoundError) else _reason(error)
        raise ExportFailed(f"{public(url)}: {reason}") from None


def _replace(path: Path, content: bytes, compression: str | None) -> None:
    # Where a link stands, what it points to is replaced.
    target = path.resolve()
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
    draft = target.with_name(f".{uuid4().hex}.tmp")
    try:
        with draft.open("xb") as raw, ExitStack() as stack:
            # Neither the time nor the draft's name, so that the same stages are the same bytes.
            plain = {"mtime": 0, "filename": ""} if compression == "gzip" else {}
            packed = compr[compression](raw, mode="wb", **plain)
            stack.enter_context(packed).write(content)
        if mode is not None:
            draft.chmod(stat.S_IMODE(mode))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def unreadable(url: str, error: BaseException) -> SourceUnreadable:
    """Return the error of a file that cannot be opened, or not be read to its end."""
    reason = "no such file" if isinstance(error, FileNotFoundError) else _reason(error)
    return SourceUnreadable(f"{public(url)}: {reason}")


def public(url: str) -> str:
    """Return a URL without what may be secret in it: a user's password, a signed query."""
    shorn = re.sub(r"(://)[^/@\s]*@", r"\1", re.sub(r"(://[^?\s]*)\?\S*", r"\1", url))
    return one_line(shorn)


def local_path(part: str) -> Path | None:
    """Return the path on this machine that a part of a URL is; None where it is elsewhere."""
    path = re.sub(r"^(file|local)://", "", part)
    return None if "://" in path else Path(path).expanduser()


def _require_regular(url: str) -> None:
    """Refuse what a read may never come to the end of: a pipe, a terminal, /dev/zero."""
    for part in url.split("::"):
        path = local_path(part)
        try:
            mode = path.stat().st_mode if path else stat.S_IFREG
        except (OSError, RuntimeError, ValueError):
            # Whoever opens it says what is wrong. It may be the name of a protocol, too.
            continue
        if stat.S_ISDIR(mode):
            raise SourceUnreadable(f"{public(url)}: a folder, not a file")
        if not stat.S_ISREG(mode):
            raise SourceUnreadable(f"{public(url)}: not a regular file: copy it to one first")


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return one_line(public(text or str(error))) or type(error).__name__


class _Guarded(RawIOBase):
    """A file whose every trouble is one error, whichever package it comes from."""

    def __init__(self, file: IO[bytes], url: str) -> None:
        self._file = file
        self._url = url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._guard(self._file.seek, offset, whence)

    def tell(self) -> int:
        return self._guard(self._file.tell)

    def readinto(self, buffer: Any) -> int:
        data = self._guard(self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _guard(self, call: Callable[..., T], *arguments: int) -> T:
        try:
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 - each protocol's package raises its own
            raise unreadable(self._url, error) from None


class Lines(Iterator[str]):
    """The lines of a text, read so that no line and no row is held that has no end.

    A byte that is no text is a mark on its line, not the end.

    Args:
        file: The bytes.
        name: What messages call the file.
        encoding: How the text is encoded.

    Attributes:
        number: How many lines have been read.

    Raises:
        InvalidStageUpdates: When there is no such encoding.
    """

    def __init__(self, file: IO[bytes], name: str, encoding: str) -> None:
        self.number = 0
        self._name = name
        self._encoding = encoding
        self._room = LONGEST_ROW
        try:
            # UTF-8 with a byte order mark or without: spreadsheets write one.
            codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
            self._text = TextIOWrapper(file, codec, errors="surrogateescape", newline="")
        except (LookupError, TypeError, ValueError):
            raise InvalidStageUpdates([f"encoding = {shown(encoding)}: no such encoding"]) from None

    def __next__(self) -> str:
        try:
            line = self._text.readline(self._room + 1)
        except (ArithmeticError, ValueError):
            after = f" after line {self.number}" if self.number else ""
            raise BrokenSource(
                f"{self._name}: not {self._encoding}{after}: give its encoding"
            ) from None
        if not line:
            raise StopIteration
        self.number += 1
        self._room -= len(line)
        if self._room < 0:
            raise BrokenSource(
                f"{self._name} line {self.number}: a row of more than {LONGEST_ROW} characters:"
                " no row from here on can be told"
            )
        return line

    def end_row(self) -> None:
        """Say that the next line is another row."""
        self._room = LONGEST_ROW
