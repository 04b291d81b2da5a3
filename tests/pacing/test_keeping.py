"""The file of a budget: one for all processes of a user, and what happens where it cannot be."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_ruddr import machine
from prefect_ruddr.machine import locked, machine_time, state_folder
from prefect_ruddr.pacing import keeping
from prefect_ruddr.pacing.bucket import RETRY_SECONDS, Bucket, State
from prefect_ruddr.pacing.keeping import Keeper

BUCKET = Bucket(0.001, 60)
"""It hardly refills while a test runs."""

NOBODY = 65534


class Process:
    """What one process of a user keeps; each has its own `Keeper`."""

    def __init__(self, file: Path | None, bucket: Bucket = BUCKET) -> None:
        self.warnings: list[str] = []
        self.later = 0.0
        self._bucket = bucket
        self._keeper = Keeper(bucket, file, self.now, self.warnings.append)

    def now(self) -> float:
        """Return the time of the machine, and what a test adds to it."""
        return machine_time() + self.later

    def reserve(self) -> int:
        """Reserve a place, and return its number."""
        return self._keeper.change(self._bucket.reserve).number

    @property
    def level(self) -> float:
        """Return what is in the bucket."""
        full_at = self._keeper.change(lambda state, _: (state, state.full_at))
        return self._bucket.size - max(0, full_at - self.now()) / self._bucket.interval

    def is_alone(self) -> bool:
        """Reserve, and tell whether it was warned that this is for this process alone."""
        before = len(self.warnings)
        self.reserve()
        assert all("paces itself alone" in warning for warning in self.warnings)
        return len(self.warnings) > before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "budgets" / "one"


def in_a_child(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a forked process."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=lambda: there.send(function()), daemon=True
    )
    child.start()
    assert here.poll(30)
    result = here.recv()
    child.join()
    return result


def test_processes_share_the_places(file: Path) -> None:
    """Whoever asks gets the next."""
    one, other = Process(file), Process(file)

    assert [one.reserve(), other.reserve(), one.reserve()] == [1, 2, 3]
    assert in_a_child(Process(file).reserve) == 4


def test_folder_and_file_are_for_this_user_alone(file: Path) -> None:
    """Others see neither how much is sent nor may they change it."""
    Process(file).reserve()

    assert oct(file.parent.stat().st_mode)[-3:] == "700"
    assert oct(file.stat().st_mode)[-3:] == "600"


def test_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other is named."""
    monkeypatch.delenv("RUDDR_STATE_FOLDER")
    assert state_folder().name == f"prefect-ruddr-{os.geteuid()}"
    monkeypatch.setenv("RUDDR_STATE_FOLDER", "/elsewhere")
    assert state_folder() == Path("/elsewhere")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o750, 0o701], ids=oct)
def test_a_folder_that_others_have_access_to_is_refused(mode: int, file: Path) -> None:
    """They might delay this user for ever, or read along."""
    file.parent.mkdir()
    file.parent.chmod(mode)

    process = Process(file)

    assert process.is_alone()
    assert str(file.parent) in process.warnings[0]
    assert list(file.parent.iterdir()) == []


def test_a_link_to_a_folder_is_refused(file: Path, tmp_path: Path) -> None:
    """Somebody else may have laid it."""
    (tmp_path / "real").mkdir(0o700)
    file.parent.symlink_to(tmp_path / "real")

    assert Process(file).is_alone()


def test_a_link_to_a_file_is_not_followed(file: Path, tmp_path: Path) -> None:
    """It might be one that matters."""
    target = tmp_path / "target"
    target.write_text("precious")
    file.parent.mkdir(0o700)
    file.symlink_to(target)

    assert Process(file).is_alone()
    assert target.read_text() == "precious"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@needs_root
def test_a_folder_of_somebody_else_is_refused(file: Path) -> None:
    """Whatever its mode is."""
    file.parent.mkdir(0o700)
    os.chown(file.parent, NOBODY, NOBODY)

    assert Process(file).is_alone()


@needs_root
def test_a_folder_that_cannot_be_written_to_leaves_a_process_alone(tmp_path: Path) -> None:
    """It goes on with a budget of its own."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "budgets"
    folder.mkdir(0o500)
    os.chown(folder, NOBODY, NOBODY)

    def reserve_as_nobody() -> tuple[list[int], int]:
        for parent in [*tmp_path.parents][:-2]:
            parent.chmod(0o755)
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        process = Process(folder / "one")
        return [process.reserve(), process.reserve()], len(process.warnings)

    assert in_a_child(reserve_as_nobody) == ([1, 2], 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of some pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_a_process_alone(small_disk: Path) -> None:
    """What is in the file is damaged or missing, and nobody relies on it."""
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(b"x" * 2**20)
    process = Process(small_disk / "one")

    assert process.is_alone()
    assert [process.reserve(), process.reserve()] == [2, 3]

    (small_disk / "filler").unlink()
    process.later += RETRY_SECONDS + 1
    assert not process.is_alone()


def test_a_read_only_file_system_leaves_a_process_alone(small_disk: Path) -> None:
    """It goes on from what it last saw."""
    process = Process(small_disk / "one")
    process.reserve()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    assert process.is_alone()
    assert process.reserve() == 3


def test_a_limit_on_the_size_of_files_leaves_a_process_alone(file: Path) -> None:
    """As `ulimit -f` sets it."""

    def reserve_without_files() -> tuple[list[int], int]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        process = Process(file)
        return [process.reserve(), process.reserve()], len(process.warnings)

    assert in_a_child(reserve_without_files) == ([1, 2], 1)


def test_a_platform_without_flock_leaves_a_process_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no other way to keep the order."""
    monkeypatch.setattr(machine, "fcntl", None)
    process = Process(file)

    assert process.is_alone()
    assert process.reserve() == 2


def test_a_process_that_stops_with_the_lock_does_not_stop_the_others(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for a while, and then go on alone."""
    monkeypatch.setattr(keeping, "LOCK_SECONDS", 0.05)
    process = Process(file)
    process.reserve()
    with locked(file.name, folder=file.parent):
        assert process.is_alone()

    process.later += RETRY_SECONDS + 1
    assert not process.is_alone()


DAMAGED = {
    "empty": b"",
    "cut": b"[100.0, 101.0, 0.0",
    "not text": b"\xff\xfe\x00",
    "foreign JSON": b'{"a": 1}',
    "another list": b'["a", "b", "c"]',
    "infinite": b"[1.0, Infinity, 0.0, 0.0, 0, 0, 0, 0.0, 0.0, false, []]",
    "too long": b"[1.0, 2.0, 0.0, 0.0, 0, 0, 0, 0.0, 0.0, false, 1, 2, 3, []]",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_begins_anew_with_an_empty_bucket(content: bytes, file: Path) -> None:
    """What was used is not known, so nobody may use it again; it is shared as before."""
    one, other = Process(file), Process(file)
    one.reserve()
    file.write_bytes(content)

    assert one.reserve() == 1
    assert one.level == pytest.approx(-1, abs=0.01)
    assert other.reserve() == 2
    assert one.warnings == other.warnings == []


def test_after_a_restart_the_bucket_is_empty(file: Path) -> None:
    """The clock began anew, so what the file tells is of a time to come."""
    process = Process(file)
    process.reserve()
    process.later -= 100.0

    process.reserve()

    assert process.level == pytest.approx(-1, abs=0.01)


def test_a_new_file_begins_with_a_full_bucket(file: Path) -> None:
    """Nobody has used it yet."""
    process = Process(file)
    process.reserve()

    assert process.level == pytest.approx(BUCKET.size - 1)


def test_a_file_that_was_removed_is_made_again(file: Path) -> None:
    """As those in a temporary folder are, now and then."""
    process = Process(file)
    process.reserve()
    shutil.rmtree(file.parent)

    assert process.reserve() == 1
    assert Process(file).reserve() == 2
    assert process.warnings == []


def test_a_shorter_state_replaces_a_longer_one(file: Path) -> None:
    """What is left of the longer one does no harm."""
    process = Process(file)
    process._keeper.change(lambda s, _: (s._replace(free=tuple(range(500))), None))
    process._keeper.change(lambda s, _: (s._replace(free=(1,)), None))

    assert process._keeper.change(lambda s, _: (s, s.free)) == (1,)
    assert len(file.read_bytes().split(b"\n")) > 2


def test_no_descriptor_stays_open(file: Path) -> None:
    """A child that is forked gets none, and a process that lives for months has none."""
    process = Process(file)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(50):
        process.reserve()

    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_the_file_holds_numbers_alone(file: Path) -> None:
    """Nothing that tells whose it is."""
    Process(file).reserve()

    values = json.loads(file.read_bytes())
    assert len(values) == len(State(0.0)) + 1
    assert values[-1] == []


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the platform has another clock")
def test_the_clock_counts_while_the_machine_is_suspended() -> None:
    """And is the same in all processes."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= machine_time() <= in_a_child(machine_time) <= machine_time()
