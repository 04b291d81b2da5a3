"""Where files may be: on disk, in memory, behind a server, compressed; or nowhere."""

from __future__ import annotations

import bz2
import gc
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec  # type: ignore[import-untyped]
import pytest

from prefect_ruddr import InvalidStageUpdates, SourceUnreadable
from prefect_ruddr.sources.files import read_rows, read_source

from .files import A, asked, errors_in

CSV = f"id,name\n{A},Won\n".encode()
EXPECTED = [{"id": A, "name": "Won"}]


def _zip(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stages.csv", content)


def _gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def _bz2(path: Path, content: bytes) -> None:
    path.write_bytes(bz2.compress(content))


def _xz(path: Path, content: bytes) -> None:
    path.write_bytes(lzma.compress(content))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an HTTP server that serves the test's folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            """Say nothing."""

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))
    ) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".csv", Path.write_bytes),
        (".csv.gz", _gzip),
        (".csv.bz2", _bz2),
        (".CSV.xz", _xz),
        (".csv.zip", _zip),
    ],
)
def test_the_name_says_the_format_and_the_compression(
    tmp_path: Path, suffix: str, write: Callable[[Path, bytes], object]
) -> None:
    """Nothing has to be unpacked by hand."""
    path = tmp_path / f"stages.2026{suffix}"
    write(path, CSV)
    assert asked(read_source(path)) == EXPECTED
    assert asked(read_source(f"file://{path}")) == EXPECTED


def test_any_file_system_of_fsspec_will_do() -> None:
    """Here the one in memory, which needs no package."""
    with fsspec.open("memory://sales/stages.csv", "wb") as file:
        file.write(CSV)
    (row,) = read_source("memory://sales/stages.csv")
    assert row.place == "stages.csv line 2"


def test_a_url_with_a_query_is_read_and_named_by_its_path(server: str, tmp_path: Path) -> None:
    """A signed address is a secret: no place and no error shows its query."""
    _gzip(tmp_path / "stages.csv.gz", CSV + b"x,y\n")
    (error,) = errors_in(f"{server}/stages.csv.gz?signature=secret")
    assert error.startswith("stages.csv.gz line 3: id = 'x'")
    with pytest.raises(SourceUnreadable) as raised:
        read_source(f"{server.replace('//', '//user:secret@')}/none.csv?signature=secret")
    assert str(raised.value) == f"{server}/none.csv: no such file"
    assert raised.value.__cause__ is None


def test_the_format_may_be_given(tmp_path: Path) -> None:
    """It counts more than the name."""
    path = tmp_path / "stages.txt"
    path.write_bytes(CSV)
    assert asked(read_source(path, format="csv")) == EXPECTED


@pytest.mark.parametrize("name", ["stages.txt", "stages", "stages.txt.gz", ".csv"])
def test_a_name_that_says_no_format_asks_for_one(name: str) -> None:
    """Before the file is looked for."""
    with pytest.raises(InvalidStageUpdates, match="give csv, jsonl, parquet or yaml as"):
        read_source(name)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param("/nowhere/stages.csv", "no such file", id="no file"),
        pytest.param("memory://nowhere/stages.csv", "no such file", id="not in memory"),
        pytest.param("s3://sales/stages.csv", "Install s3fs to access S3", id="no package"),
        pytest.param("what://sales/stages.csv", "Protocol not known: what", id="no protocol"),
    ],
)
def test_what_cannot_be_opened_says_why_in_one_line(url: str, reason: str) -> None:
    """The address and the reason, without what may be secret."""
    with pytest.raises(SourceUnreadable) as raised:
        read_source(url)
    assert str(raised.value) == f"{url}: {reason}"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """However it is called."""
    folder = tmp_path / "stages.csv"
    folder.mkdir()
    with pytest.raises(SourceUnreadable, match="a folder, not a file"):
        read_source(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(gzip.compress(CSV * 100)[:-20], "Compressed file ended", id="cut off"),
        pytest.param(CSV, "Not a gzipped file", id="not compressed"),
        pytest.param(gzip.compress(CSV)[:12] + b"xxxxxxxxxx", "Error -3", id="damaged"),
    ],
)
def test_a_damaged_file_is_refused_as_a_whole(tmp_path: Path, content: bytes, reason: str) -> None:
    """No row of it is taken, though some may have been read."""
    path = tmp_path / "stages.csv.gz"
    path.write_bytes(content)
    with pytest.raises(SourceUnreadable, match=reason):
        read_source(path, on_invalid="skip")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".csv.bz2"])
def test_a_file_is_closed_when_it_is_read(tmp_path: Path, suffix: str) -> None:
    """The packed one too, at once and not by the garbage collector."""
    path = tmp_path / f"stages{suffix}"
    with fsspec.open(f"file://{path}", "wb", compression="infer") as file:
        file.write(CSV + b"x,y\n")
    gc.disable()
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        kept = [read_rows(path) for _ in range(3)]
        for rows in kept:
            next(rows)
            rows.close()  # type: ignore[attr-defined]  # a generator
        errors_in(path)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        gc.enable()
