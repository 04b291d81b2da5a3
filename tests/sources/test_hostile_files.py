"""Hostile and broken input: one clear line, a typed error, and memory that is bounded."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from prefect_ruddr import InvalidStageUpdates, RuddrError, SourceUnreadable, stage_rows
from prefect_ruddr.sources import rows as source_rows
from prefect_ruddr.sources.files import read_rows, read_source
from prefect_ruddr.sources.opening import LONGEST_ROW
from prefect_ruddr.stages.stage import parse_stage_id

from .files import A, B, errors_in

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20

READER = """
import json, sys
from prefect_ruddr import RuddrError
from prefect_ruddr.sources.files import read_source

def kilobytes(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what))

for path in sys.argv[1:]:
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = kilobytes("VmRSS")
    try:
        read_source(path)
    except RuddrError as error:
        print(json.dumps([str(error), (kilobytes("VmHWM") - before) // 1024]))
"""
"""Reads files in a process of its own; says what was wrong, and how many MB it took."""

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "line.csv": (b"id,name\n", b"x"),
    "commas.csv": (b"id,name\n", b","),
    "header.csv": (b"", b"x,"),
    "row-of-many-lines.csv": (b'id,name\n"', b'x\n","'),
    "line.jsonl": (b'{"id": "', b"x"),
    "line.yaml": (b"- id: ", b"x"),
    "packed.csv.gz": (b"id,name\n", b"x"),
    "packed.csv.bz2": (b"id,name\n", b"x"),
    "packed.csv.xz": (b"id,name\n", b"x"),
}
"""How files begin that go on for 200 MB with one row, and with what."""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int]]:
    """What was said about each file without end, and how many MB reading it took."""
    folder = tmp_path_factory.mktemp("endless")
    for name, (start, fill) in ENDLESS.items():
        with fsspec.open(f"file://{folder / name}", "wb", compression="infer") as file:
            file.write(start)
            for _ in range(200 if "packed" not in name else 20):
                file.write(fill * (MEGABYTE // len(fill)))
    ended = subprocess.run(
        [sys.executable, "-c", READER, *(str(folder / name) for name in ENDLESS)],
        capture_output=True,
        text=True,
        check=True,
    )
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    return dict(zip(ENDLESS, said, strict=True))


@pytest.mark.parametrize("name", ENDLESS)
def test_a_row_without_end_is_refused_early(
    refusals: dict[str, tuple[str, int]], name: str
) -> None:
    """It is not read further than has to be, packed or not."""
    said, megabytes = refusals[name]
    line = {"header.csv": "1", "row-of-many-lines.csv": "", "line.jsonl": "1", "line.yaml": "1"}
    assert f"{name} line {line.get(name, '2')}" in said
    assert f"a row of more than {LONGEST_ROW} characters" in said
    assert "\n" not in said
    assert megabytes < 40


def test_more_rows_than_any_workspace_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would all be held."""
    monkeypatch.setattr(source_rows, "MOST_ROWS", 3)
    path = tmp_path / "stages.csv"
    path.write_text("id,name\n" + f"{A},x\n" * 9, encoding="utf-8")
    assert errors_in(path, on_invalid="skip") == [
        "stages.csv line 5: more than 3 rows: split the source"
    ]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(_fifo, "not a regular file", id="pipe"),
        pytest.param(_link_to_zero, "not a regular file", id="/dev/zero"),
        pytest.param(Path.mkdir, "a folder, not a file", id="folder"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "file://", "local://", "simplecache::file://"])
def test_what_is_no_regular_file_is_refused_unread(
    tmp_path: Path, make: Callable[[Path], None], reason: str, prefix: str
) -> None:
    """A pipe would be waited for, a device would never end."""
    path = tmp_path / "stages.csv"
    make(path)
    with pytest.raises(SourceUnreadable) as raised:
        read_source(f"{prefix}{path}")
    assert str(raised.value).startswith(f"{prefix}{path}: {reason}")


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stages.csv", content)
    return packed.getvalue()


def _damaged(packed: bytes) -> bytes:
    middle = len(packed) // 3
    return (
        packed[:middle]
        + bytes(byte ^ 0xFF for byte in packed[middle : middle + 8])
        + packed[middle + 8 :]
    )


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".zip", _zip),
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
    ],
)
def test_a_damaged_archive_is_one_line(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    """Whatever the package that unpacks it raises."""
    path = tmp_path / f"stages.csv{suffix}"
    content = b"id,name\n" + b"".join(f"{A},{number}\n".encode() for number in range(2000))
    for packed in (_damaged(pack(content)), b"", b"PK\x03\x04", pack(content)[:-20]):
        path.write_bytes(packed)
        with pytest.raises((SourceUnreadable, InvalidStageUpdates)) as raised:
            read_source(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf\0-8", "", "x" * 10_000, "hex", "zip", None], ids=repr)
def test_what_is_no_encoding_says_so(tmp_path: Path, encoding: Any) -> None:
    """One line, of bounded length."""
    path = tmp_path / "stages.csv"
    path.write_text("id,name\n", encoding="utf-8")
    (error,) = errors_in(path, encoding=encoding)
    assert error.startswith("encoding = ")
    assert error.endswith(": no such encoding")
    assert len(error) < 200


@pytest.mark.parametrize(
    ("value", "error"),
    [
        pytest.param(Decimal("1E+1000000"), "Input should be a finite number", id="huge decimal"),
        pytest.param(Decimal("1E-1000000"), "at most 4 decimal places", id="tiny decimal"),
        pytest.param(Decimal("sNaN"), "Input should be a finite number", id="signalling NaN"),
        pytest.param(10**5000, "Input should be a finite number", id="5,000 digits"),
        pytest.param(Fraction(10**5000, 3), "Input should be a finite number", id="huge fraction"),
        pytest.param([0.5] * 100_000, "Input should be a number", id="long list"),
    ],
)
@pytest.mark.parametrize("field", ["probability", "is_active", "name", "id", "stage", "pipeline"])
def test_what_is_no_number_is_one_error(field: str, value: Any, error: str) -> None:
    """In any column, in code and in tables."""
    row = {"id": A, "name": "x"} | {field: value}
    if field in {"stage", "pipeline"}:
        row = {"stage": "Won", "name": "x"} | {field: value}
    with pytest.raises(InvalidStageUpdates) as raised:
        stage_rows([row])
    (text,) = raised.value.errors
    assert text.startswith(f"row 1: {field} = ")
    assert field != "probability" or error in text
    assert len(text) < 300


def test_an_integer_of_thousands_of_digits_is_one_bad_value(tmp_path: Path) -> None:
    """In JSON Lines and in YAML, without Python's own advice."""
    digits = "9" * 5000
    lines = tmp_path / "stages.jsonl"
    lines.write_text(f'{{"id": "{A}", "probability": {digits}}}\n', encoding="utf-8")
    code = tmp_path / "stages.yaml"
    code.write_text(f"- {{id: {A}, probability: {digits}}}\n", encoding="utf-8")
    for path in (lines, code):
        (error,) = errors_in(path)
        assert error.startswith(f"{path.name} line 1: probability = inf: ")


@pytest.mark.parametrize(
    "table",
    [7, None, "id", b"id", {"id": A, "name": "x"}, pytest.param(object(), id="an object")],
    ids=repr,
)
def test_what_is_no_table_says_so(table: Any) -> None:
    """Not a `TypeError` from within."""
    with pytest.raises(InvalidStageUpdates, match="is no table: give a frame, or a list of rows"):
        stage_rows(table)


@pytest.mark.parametrize(
    "id_",
    [
        pytest.param(f"{A[:-1]}\n", id="line break for a digit"),
        pytest.param(A + "\n", id="line break"),
        pytest.param(A.replace("-", "_"), id="underscores"),
        pytest.param(f"{{{A}", id="half a pair of braces"),
        pytest.param(A.replace("a", "\u0661"), id="digits of another script"),
    ],
)
def test_an_id_is_spelt_as_a_uuid_is(id_: str) -> None:
    """Python's own `UUID` would take some of these for other ids."""
    with pytest.raises(InvalidStageUpdates, match="not a UUID"):
        parse_stage_id(id_)
    with pytest.raises(InvalidStageUpdates, match="not a UUID") as raised:
        stage_rows([{"id": f" {id_}x", "name": "x"}])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_names_without_end_are_cut(tmp_path: Path, kind: str) -> None:
    """Of a field, of a column, and of thousands of them."""
    path = tmp_path / f"stages.{kind}"
    for names in (["x" * 100_000], [f"field {number}" for number in range(5000)]):
        if kind == "csv":
            text = f"id,name,{','.join(names)}\n"
        else:
            text = json.dumps({"id": A, "name": "x", **dict.fromkeys(names, 1)})
        path.write_text(text, encoding="utf-8")
        errors = errors_in(path)
        assert len(errors) <= 21
        assert all(len(error) < 300 for error in errors)


def _parquet() -> bytes:
    content = io.BytesIO()
    table = pa.table(
        {"id": [A, B] * 50, "name": ["Won", None] * 50, "probability": [0.5, 0.25] * 50}
    )
    parquet.write_table(table, content, row_group_size=40)
    return content.getvalue()


PARQUET = _parquet()
SEEDS = [
    PARQUET,
    f"id,name\n{A},Won\n".encode(),
    f'{{"id": "{A}", "name": "Won"}}\n'.encode(),
    f"pipelines: {{Sales: {B}}}\nstages:\n  Sales:\n  - id: {A}\n    name: Won\n".encode(),
    *(pack(f"id,name\n{A},Won\n".encode()) for pack in (gzip.compress, lzma.compress, _zip)),
]
NAMES = [
    *("stages.csv", "stages.jsonl", "stages.yaml", "stages.parquet"),
    *("stages.csv.gz", "stages.jsonl.xz", "stages.yaml.zip", "stages.csv.bz2"),
]
flips = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=4)


def _flipped(seed: bytes, changes: list[tuple[float, bytes]]) -> bytes:
    content = bytearray(seed)
    for where, patch in changes:
        at = int(where * len(content))
        content[at : at + len(patch)] = patch
    return bytes(content)


contents = st.binary(max_size=300) | st.builds(_flipped, st.sampled_from(SEEDS), flips)


def _only_typed_errors(name: str, content: bytes, **options: Any) -> None:
    url = f"memory://hostile/{name}"
    with fsspec.open(url, "wb") as file:
        file.write(content)
    for read in (read_source, read_rows):
        with suppress(RuddrError):
            list(read(url, **options))


@pytest.mark.parametrize("name", NAMES)
@given(contents)
def test_no_bytes_raise_anything_but_our_errors(name: str, content: bytes) -> None:
    """Random ones, and good files with some of their bytes changed."""
    _only_typed_errors(name, content)


@settings(max_examples=300)
@given(flips)
def test_changed_bytes_of_a_parquet_file_are_our_errors(
    changes: list[tuple[float, bytes]],
) -> None:
    """Anywhere: in its data, in its pages' headers and in its footer."""
    _only_typed_errors("stages.parquet", _flipped(PARQUET, changes))


CODECS = ["utf-8", "utf-16", "utf-32-be", "utf-7", "cp037", "punycode", "idna", "unicode_escape"]


# Python's codec of escapes warns of one that it does not know.
@pytest.mark.filterwarnings("ignore:invalid:DeprecationWarning")
@given(
    st.binary(max_size=100),
    st.sampled_from(CODECS),
    st.sampled_from(["stages.csv", "stages.jsonl", "stages.yaml"]),
)
def test_no_encoding_raises_anything_but_our_errors(
    content: bytes, encoding: str, name: str
) -> None:
    """Whatever a codec makes of the bytes."""
    _only_typed_errors(name, content, encoding=encoding)


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.fractions(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
    st.lists(st.integers(), max_size=2),
    st.just(pytest.param(object(), id="an object")),
    st.just(A),
)
columns = st.sampled_from(
    ["id", "stage", "pipeline", "name", "description", "probability", "statusId", "is_active"]
)


@given(st.lists(st.dictionaries(columns | st.text(max_size=3), cells, max_size=5), max_size=4))
def test_no_cells_raise_anything_but_our_errors(table: list[dict[str, Any]]) -> None:
    """Of any type that a driver or a frame may have."""
    with suppress(InvalidStageUpdates):
        stage_rows(table, on_invalid="skip")
