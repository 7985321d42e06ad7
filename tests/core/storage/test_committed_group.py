import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from egodtm_robot.core import storage
from egodtm_robot.core.errors import (
    CorruptStoreError,
    DiskSpaceError,
    StoreArrayError,
    StoreExistsError,
    StoreLockedError,
    StoreNotFoundError,
    StoreReadOnlyError,
)
from egodtm_robot.core.storage import CommittedGroup, array_spec, check_free_space

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """So that a few rows make several chunks, the last one nearly always partly filled."""
    monkeypatch.setattr(array_spec, "TARGET_CHUNK_BYTES", 700)


def rows_of_commit(number: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(number)
    count = int(generator.integers(1, 12))
    return {
        "images/left": generator.integers(0, 256, (count, 5, 4, 3), dtype=np.uint8),
        "actions": generator.standard_normal((count, 9)).astype(np.float32),
        "reset/seed": np.array([number]),
    }


def expected(commits: int) -> dict[str, np.ndarray]:
    parts = [rows_of_commit(number) for number in range(commits)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def make(root: Path, commits: int) -> None:
    with CommittedGroup.create(root, "main", {"task": "knob"}) as group:
        for number in range(commits):
            group.append(rows_of_commit(number), {"number": number}, {"kept": number + 1})


def assert_holds(root: Path, commits: int) -> None:
    group = CommittedGroup.open(root, "main")
    assert [commit["entry"]["number"] for commit in group.commits] == list(range(commits))
    assert group.attributes.get("kept", 0) == commits
    if commits:
        for name, values in expected(commits).items():
            np.testing.assert_array_equal(group.arrays[name].read(), values)
    assert group.verify() == []


def append_for_ever(root: Path) -> None:
    with CommittedGroup.open(root, "main", "a") as group:
        for number in range(len(group.commits), 10_000):
            group.append(rows_of_commit(number), {"number": number}, {"kept": number + 1})


def test_what_was_appended_is_read_back_by_range_and_by_index(tmp_path):
    make(tmp_path, 9)
    group = CommittedGroup.open(tmp_path, "main")
    generator = np.random.default_rng(0)
    for name, values in expected(9).items():
        array = group.arrays[name]
        assert array.shape == values.shape
        for _ in range(20):
            start, stop = np.sort(generator.integers(0, len(values) + 1, 2))
            np.testing.assert_array_equal(array.read(start, stop), values[start:stop])
            indices = generator.integers(0, len(values), generator.integers(0, 30))
            np.testing.assert_array_equal(array.take(indices), values[indices])


def test_zarr_itself_reads_the_same_and_refuses_a_flipped_byte(tmp_path):
    make(tmp_path, 9)
    group = zarr.open_group(tmp_path, mode="r")
    for name, values in expected(9).items():
        array = group[name]
        assert array.metadata.codecs[-1].to_dict()["name"] == "crc32c"
        np.testing.assert_array_equal(array[:], values)
    assert group.attrs["kept"] == 9
    flip(tmp_path / "actions" / "c.1.0", 40)
    with pytest.raises(ValueError, match="checksum"):
        group["actions"][:]


def test_rows_without_extent_and_scalars_are_kept(tmp_path):
    rows = {"empty": np.zeros((5, 1, 0), np.float32), "flag": np.array([True, False, True])}
    with CommittedGroup.create(tmp_path, "main", {}) as group:
        group.append(rows)
        group.append(rows)
    group = CommittedGroup.open(tmp_path, "main")
    assert group.arrays["empty"].read().shape == (10, 1, 0)
    assert group.arrays["flag"].read().tolist() == [True, False, True] * 2
    assert group.verify() == []
    assert zarr.open_array(tmp_path / "empty", mode="r")[:].shape == (10, 1, 0)


def test_a_writer_killed_at_any_time_leaves_whole_commits_and_a_store_that_goes_on(tmp_path):
    make(tmp_path, 0)
    generator = np.random.default_rng(1)
    seen: list[int] = []
    deadline = time.monotonic() + 150
    # Killed while starting, between commits and within them; on a busy machine it takes longer to
    # meet enough of the latter.
    while len(seen) < 25 or (seen[-1] < 10 and time.monotonic() < deadline):
        writer = FORK.Process(target=append_for_ever, args=(tmp_path,))
        writer.start()
        time.sleep(generator.uniform(0.005, 0.15))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        seen.append(len(CommittedGroup.open(tmp_path, "main").commits))
        assert_holds(tmp_path, seen[-1])
    assert seen == sorted(seen)
    assert seen[-1] >= 10


@pytest.mark.parametrize("call", ["replace", "fsync", "mkdir", "unlink"])
def test_a_writer_killed_at_each_step_of_a_commit_leaves_it_whole_or_absent(tmp_path, call):
    def die_at(root: Path, step: int) -> None:
        real = getattr(os, call)
        # multiprocessing.Value: fsync is called from several threads.
        count = FORK.Value("i", 0)

        def dying(*args, **kwargs):
            with count:
                count.value += 1
                if count.value > step:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, call, dying)
        with CommittedGroup.open(root, "main", "a") as group:
            number = len(group.commits)
            group.append(rows_of_commit(number), {"number": number}, {"kept": number + 1})

    make(tmp_path, 0)
    committed, step, finished = 0, 0, 0
    while finished < 3:
        writer = FORK.Process(target=die_at, args=(tmp_path, step))
        writer.start()
        writer.join()
        now = len(CommittedGroup.open(tmp_path, "main").commits)
        assert now in (committed, committed + 1)
        assert_holds(tmp_path, now)
        committed = now
        finished += writer.exitcode == 0
        step += 1
    assert committed >= 3
    with CommittedGroup.open(tmp_path, "main", "a"):
        assert not list(tmp_path.rglob("*.partial"))
    assert_holds(tmp_path, committed)


def test_a_full_disk_at_each_step_loses_only_the_commit_in_progress(tmp_path, monkeypatch):
    make(tmp_path, 3)
    real = os.fsync
    step = 0
    with CommittedGroup.open(tmp_path, "main", "a") as group:
        while True:
            left = step

            def failing(descriptor):
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real(descriptor)

            monkeypatch.setattr(os, "fsync", failing)
            number = len(group.commits)
            try:
                group.append(rows_of_commit(number), {"number": number}, {"kept": number + 1})
            except DiskSpaceError as error:
                message = str(error)
                if len(CommittedGroup.open(tmp_path, "main").commits) == number:
                    assert_holds(tmp_path, number)
                step += 1
                continue
            break
        monkeypatch.setattr(os, "fsync", real)
        assert step > 5
        assert "The disk is full" in message
        number = len(group.commits)
        group.append(rows_of_commit(number), {"number": number}, {"kept": number + 1})
    assert_holds(tmp_path, number + 1)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << position % 8
    path.write_bytes(bytes(content))


def found(root: Path) -> list[str]:
    try:
        return [str(problem) for problem in CommittedGroup.open(root, "main").verify()]
    except CorruptStoreError as error:
        return [str(error)]


def test_any_flipped_byte_is_found_and_placed(tmp_path):
    make(tmp_path, 6)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(files) >= 16
    generator = np.random.default_rng(2)
    for path in files:
        content = path.read_bytes()
        ends = [0, len(content) - 1]
        for position in {*ends, *generator.integers(0, len(content), 8).tolist()}:
            flip(path, position)
            problems = found(tmp_path)
            assert len(problems) == 1, (path, position)
            name = str(path.parent.relative_to(tmp_path))
            if path.name.startswith("c."):
                assert problems[0].startswith(f"{name}, chunk {path.name.split('.')[1]}:")
            elif path.name == "zarr.json":
                assert str(path.relative_to(tmp_path)) in problems[0]
            else:
                assert "Commit record" in problems[0]
            path.write_bytes(content)
    assert found(tmp_path) == []


@pytest.mark.parametrize("size", [None, 0, 3, 4, 30])
def test_a_missing_or_truncated_chunk_is_found_and_never_read_as_zeros(tmp_path, size):
    make(tmp_path, 6)
    path = tmp_path / "images/left" / "c.2.0.0.0"
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    assert [p.split(":")[0] for p in found(tmp_path)] == ["images/left, chunk 2"]
    array = CommittedGroup.open(tmp_path, "main").arrays["images/left"]
    array.read(0, 2 * array.spec.chunk_rows)
    with pytest.raises(CorruptStoreError, match=r"'images/left', chunk 2"):
        array.read()
    with pytest.raises(CorruptStoreError, match=r"'images/left', chunk 2"):
        array.take(np.arange(array.rows))


def test_a_chunk_put_in_place_of_another_is_found(tmp_path):
    make(tmp_path, 8)
    first, second = (tmp_path / "actions" / f"c.{index}.0" for index in (0, 1))
    second.write_bytes(first.read_bytes())
    assert all(problem.startswith("actions, chunk") for problem in found(tmp_path))
    assert found(tmp_path)


def test_metadata_damaged_by_others_is_repaired_by_the_next_writer(tmp_path):
    make(tmp_path, 3)
    flip(tmp_path / "actions/zarr.json", 12)
    assert len(found(tmp_path)) == 1
    CommittedGroup.open(tmp_path, "main", "a").close()
    assert_holds(tmp_path, 3)


def test_a_second_writer_waits_for_the_first(tmp_path):
    make(tmp_path, 2)

    def hold(ready) -> None:
        with CommittedGroup.open(tmp_path, "main", "a") as group:
            ready.set()
            time.sleep(0.3)
            group.append(rows_of_commit(2), {"number": 2}, {"kept": 3})

    ready = FORK.Event()
    holder = FORK.Process(target=hold, args=(ready,))
    holder.start()
    assert ready.wait(10)
    with pytest.raises(StoreLockedError, match=rf"process {holder.pid} on host"):
        CommittedGroup.open(tmp_path, "main", "a", timeout_s=0.02)
    CommittedGroup.open(tmp_path, "main", "r")
    with CommittedGroup.open(tmp_path, "main", "a", timeout_s=20) as group:
        assert len(group.commits) == 3
    holder.join()


def test_neither_a_killed_writer_nor_its_children_keep_the_lock(tmp_path):
    make(tmp_path, 2)

    def write(ready, pids) -> None:
        group = CommittedGroup.open(tmp_path, "main", "a")
        child = os.fork()
        if child == 0:
            with pytest.raises(StoreReadOnlyError):
                group.append(rows_of_commit(2))
            pids.put(os.getpid())
            ready.set()
            time.sleep(60)
            os._exit(0)
        time.sleep(60)

    ready, pids = FORK.Event(), FORK.Queue()
    writer = FORK.Process(target=write, args=(ready, pids))
    writer.start()
    assert ready.wait(10)
    orphan = pids.get(timeout=10)
    with pytest.raises(StoreLockedError):
        CommittedGroup.open(tmp_path, "main", "a", timeout_s=0)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    try:
        CommittedGroup.open(tmp_path, "main", "a", timeout_s=0.5).close()
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_one_process_cannot_open_a_group_twice_for_writing(tmp_path):
    make(tmp_path, 1)
    with (
        CommittedGroup.open(tmp_path, "main", "a"),
        pytest.raises(StoreLockedError, match=str(os.getpid())),
    ):
        CommittedGroup.open(tmp_path, "main", "a", timeout_s=0)


def test_an_interrupted_writer_reads_the_record_again_before_it_goes_on(tmp_path, monkeypatch):
    make(tmp_path, 2)
    group = CommittedGroup.open(tmp_path, "main", "a")

    def interrupt(record):
        raise KeyboardInterrupt

    monkeypatch.setattr(group, "_publish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        group.append(rows_of_commit(2))
    with pytest.raises(StoreReadOnlyError):
        group.append(rows_of_commit(2))
    assert_holds(tmp_path, 2)


def test_a_reader_keeps_its_commit_while_another_appends(tmp_path):
    make(tmp_path, 2)
    reader = CommittedGroup.open(tmp_path, "main")
    with CommittedGroup.open(tmp_path, "main", "a") as group:
        group.append(rows_of_commit(2), {"number": 2}, {"kept": 3})
    for name, values in expected(2).items():
        np.testing.assert_array_equal(reader.arrays[name].read(), values)
    assert reader.verify() == []


def test_rows_that_do_not_fit_are_refused_and_nothing_is_stored(tmp_path):
    make(tmp_path, 2)
    with CommittedGroup.open(tmp_path, "main", "a") as group:
        good = rows_of_commit(2)
        with pytest.raises(StoreArrayError, match="missing: \\['actions'\\]"):
            group.append({name: v for name, v in good.items() if name != "actions"})
        with pytest.raises(StoreArrayError, match=r"\(9,\) and type float32"):
            group.append(good | {"actions": np.zeros((2, 8), np.float32)})
        with pytest.raises(StoreArrayError, match="float64"):
            group.append(good | {"actions": np.zeros((2, 9))})
    assert_holds(tmp_path, 2)


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", ".hidden", "a//b", "a b"])
def test_names_that_could_leave_the_store_are_refused(tmp_path, name):
    with (
        CommittedGroup.create(tmp_path, "main", {}) as group,
        pytest.raises(StoreArrayError, match="Expected a name"),
    ):
        group.append({name: np.zeros(3)})


def test_objects_are_refused(tmp_path):
    with (
        CommittedGroup.create(tmp_path, "main", {}) as group,
        pytest.raises(StoreArrayError, match="object"),
    ):
        group.append({"a": np.array([{}], dtype=object)})


def test_wrong_places_and_modes_are_named(tmp_path):
    with pytest.raises(StoreNotFoundError, match="there is none"):
        CommittedGroup.open(tmp_path / "none", "main", "a")
    assert not (tmp_path / "none").exists()
    make(tmp_path, 1)
    with pytest.raises(StoreExistsError):
        CommittedGroup.create(tmp_path, "main", {})
    with pytest.raises(StoreReadOnlyError):
        CommittedGroup.open(tmp_path, "main").append(rows_of_commit(1))
    with pytest.raises(IndexError, match="0 to"):
        CommittedGroup.open(tmp_path, "main").arrays["actions"].take(np.array([-1]))


def test_a_record_of_another_version_is_refused(tmp_path):
    make(tmp_path, 1)
    record = storage.read_record(tmp_path, "main") | {"version": 99}
    storage.record_path(tmp_path, "main").write_bytes(storage.encode_record(record))
    with pytest.raises(CorruptStoreError, match="version 99"):
        CommittedGroup.open(tmp_path, "main")


def test_the_record_is_json_that_lists_rows_and_metadata_hashes(tmp_path):
    make(tmp_path, 3)
    record = json.loads(storage.record_path(tmp_path, "main").read_bytes())["commit"]
    assert record["arrays"]["reset/seed"]["rows"] == 3
    assert {"zarr.json", "images/zarr.json", "actions/zarr.json"} <= record["metadata"].keys()


def test_too_little_disk_is_named_before_the_work_starts(tmp_path):
    check_free_space(tmp_path / "not" / "yet", 1000)
    with pytest.raises(DiskSpaceError, match=r"Expected .* TB of free disk"):
        check_free_space(tmp_path / "not" / "yet", 10**18)


def test_groups_of_one_hierarchy_are_created_at_the_same_time(tmp_path):
    def write(name: str, start) -> None:
        start.wait()
        with CommittedGroup.create(tmp_path, name, {}) as group:
            group.append({name: np.arange(300)})

    start = FORK.Event()
    names = [f"features/encoder/camera{number}" for number in range(6)]
    writers = [FORK.Process(target=write, args=(name, start)) for name in names]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert storage.record_names(tmp_path) == names
    assert all(CommittedGroup.open(tmp_path, name).verify() == [] for name in names)
