import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.errors import (
    CorruptStoreError,
    InvalidEpisodeError,
    StoreArrayError,
    StoreExistsError,
    StoreLockedError,
    StoreNotFoundError,
    StoreReadOnlyError,
    UnknownNameError,
)
from egodtm_robot.core.storage import array_spec, committed_group, record_path
from egodtm_robot.demos import DemonstrationStore, Episode
from egodtm_robot.demos.store import estimate_bytes
from egodtm_robot.demos.verify import main as verify

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_stores import ATTRIBUTES, make_episode, make_store

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(array_spec, "TARGET_CHUNK_BYTES", 2000)


def flat(episodes: int) -> dict[str, np.ndarray]:
    parts = [make_episode(seed).step_arrays() for seed in range(episodes)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_episodes_come_back_as_they_were_given(tmp_path):
    store = make_store(tmp_path / "demos", 7)
    assert (store.num_episodes, store.kept_episodes, store.attempted_episodes) == (7, 7, 10)
    assert store.attributes == ATTRIBUTES
    assert store.seeds.tolist() == list(range(7))
    lengths = [make_episode(seed).num_steps for seed in range(7)]
    assert store.episode_offsets.tolist() == np.cumsum([0, *lengths]).tolist()
    for index in range(7):
        given = make_episode(index)
        stored = store.episode(index)
        assert stored.keys() == given.step_arrays().keys() == set(store.array_names)
        for name, values in given.step_arrays().items():
            assert stored[name].dtype == values.dtype
            np.testing.assert_array_equal(stored[name], values)
        for name, value in store.reset_record(index).items():
            np.testing.assert_array_equal(value, given.reset[name])
    assert store.verify() == []


def test_steps_are_read_by_slice_and_by_index(tmp_path):
    store = make_store(tmp_path / "demos", 5)
    values = flat(5)
    indices = np.random.default_rng(0).integers(0, store.num_steps, 40)
    for where in (slice(3, 50), slice(None), slice(10, 3), slice(0, 60, 7), indices, [2], []):
        for name, rows in store.steps(where, ["rgb/left", "actions"]).items():
            selected = values[name][np.asarray(where, int) if isinstance(where, list) else where]
            np.testing.assert_array_equal(rows, selected)


def test_zarr_python_reads_the_same_rows(tmp_path):
    group = make_store(tmp_path / "demos", 3).as_zarr()
    for name, values in flat(3).items():
        stored = name if name in ("actions", "simulator_state") else f"observations/{name}"
        np.testing.assert_array_equal(group[stored][:], values)
    with pytest.raises(ValueError, match="read-only"):
        group["actions"][0] = 0


def test_a_store_grows_after_it_was_closed(tmp_path):
    make_store(tmp_path / "demos", 3)
    with DemonstrationStore.open(tmp_path / "demos", "a") as store:
        store.append_episode(make_episode(3), rejected_before=4)
        assert store.attempted_episodes == 9
    whole = DemonstrationStore.open(tmp_path / "demos")
    for name, values in flat(4).items():
        np.testing.assert_array_equal(whole.steps(slice(None), [name])[name], values)


def test_the_fingerprint_depends_on_content_and_preset_but_not_on_how_it_was_collected(tmp_path):
    first = make_store(tmp_path / "a", 3)
    make_store(tmp_path / "b", 2)
    with DemonstrationStore.open(tmp_path / "b", "a") as second:
        assert second.fingerprint == first.prefix_fingerprint(2) != first.fingerprint
        second.append_episode(make_episode(2), rejected_before=3)
        assert second.fingerprint == first.fingerprint
    others = [
        (dataclasses.replace(ATTRIBUTES, visual="varied"), make_episode(0)),
        (dataclasses.replace(ATTRIBUTES, model_hash="other"), make_episode(0)),
        (ATTRIBUTES, dataclasses.replace(make_episode(0), seed=5)),
        (ATTRIBUTES, dataclasses.replace(make_episode(0), actions=make_episode(0).actions * 0.5)),
    ]
    for number, (attributes, episode) in enumerate(others):
        with DemonstrationStore.create(tmp_path / f"c{number}", attributes) as store:
            store.append_episode(episode)
            assert store.fingerprint != first.prefix_fingerprint(1)


def change(name: str, values: np.ndarray) -> Episode:
    episode = make_episode(1)
    if name == "left":
        return dataclasses.replace(episode, rgb={"left": values})
    return dataclasses.replace(episode, **{name: values})


def test_episodes_that_contradict_themselves_or_the_store_are_refused(tmp_path):
    good = make_episode(1)
    steps = good.num_steps
    broken = good.proprioception.copy()
    broken[2, 3] = np.nan
    cases = [
        (
            change("proprioception", broken),
            "finite numbers in 'proprioception', got nan at step 2, column 3",
        ),
        (change("actions", good.actions * 3), "within -1 to 1"),
        (change("actions", good.actions[:0]), "at least one step"),
        (change("privileged", good.privileged[:-1]), f"T = {steps} steps"),
        (change("privileged", good.privileged[:, :4]), r"does not fit .*\(15,\)"),
        (change("simulator_state", good.simulator_state.astype(np.float32)), "float64"),
        (change("left", good.rgb["left"].astype(np.float32)), "uint8"),
        (change("left", good.rgb["left"][:, :, :9]), r"\(8, 10\)"),
        (dataclasses.replace(good, rgb={"right": good.rgb["left"]}), r"\['left'\].*\['right'\]"),
        (dataclasses.replace(good, reset={}), "missing: .'reset/base_offset'"),
    ]
    make_store(tmp_path / "demos", 1)
    with DemonstrationStore.open(tmp_path / "demos", "a") as store:
        for episode, message in cases:
            with pytest.raises(InvalidEpisodeError, match=message):
                store.append_episode(episode)
        assert (store.num_episodes, store.attempted_episodes) == (1, 1)
        store.append_episode(good)
    assert DemonstrationStore.open(tmp_path / "demos").verify() == []


def test_misuse_is_named(tmp_path):
    with pytest.raises(StoreNotFoundError):
        DemonstrationStore.open(tmp_path / "none")
    store = make_store(tmp_path / "demos", 2)
    with pytest.raises(StoreExistsError):
        DemonstrationStore.create(tmp_path / "demos", ATTRIBUTES)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(StoreExistsError, match=r"thesis\.tex"):
        DemonstrationStore.create(tmp_path / "other", ATTRIBUTES)
    with pytest.raises(StoreReadOnlyError):
        store.append_episode(make_episode(2))
    with pytest.raises(UnknownNameError, match="'rgb/left'"):
        store.steps([0], ["rgb/lef"])
    with pytest.raises(IndexError, match="0 to 1"):
        store.episode(2)
    with pytest.raises(IndexError):
        store.steps([store.num_steps], ["actions"])


def test_a_writer_killed_in_its_first_episode_leaves_an_empty_store(tmp_path, monkeypatch):
    def die() -> None:
        with DemonstrationStore.create(tmp_path / "demos", ATTRIBUTES) as store:
            monkeypatch.setattr(
                committed_group, "encode_record", lambda _: os.kill(os.getpid(), signal.SIGKILL)
            )
            store.append_episode(make_episode(0))

    writer = FORK.Process(target=die)
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    store = DemonstrationStore.open(tmp_path / "demos")
    assert (store.num_episodes, store.num_steps, store.array_names) == (0, 0, ())
    assert store.episode_offsets.tolist() == [0]
    assert store.verify() == []
    with DemonstrationStore.open(tmp_path / "demos", "a") as store:
        store.append_episode(make_episode(0))
    assert DemonstrationStore.open(tmp_path / "demos").verify() == []


# Derived arrays


def write_features(path: Path, upto: int | None = None) -> int:
    """Write rows [row number] * 6 up to a row; the number of rows that were there before."""
    store = DemonstrationStore.open(path)
    with store.add_features("abc", "left", (2, 3)) as writer:
        before = writer.next_row
        stop = store.num_steps if upto is None else upto
        while writer.next_row < stop:
            first = writer.next_row
            rows = np.arange(first, min(first + 7, stop), dtype=np.float32)
            writer.append(np.broadcast_to(rows[:, None, None], (len(rows), 2, 3)))
        assert writer.complete == (writer.next_row == store.num_steps)
    return before


def assert_features(path: Path) -> None:
    store = DemonstrationStore.open(path)
    features = store.read_features("abc", "left")
    assert features is not None
    assert features.shape == (store.num_steps, 2, 3)
    assert (features == np.arange(store.num_steps)[:, None, None]).all()
    assert store.verify() == []


def test_features_count_only_once_complete_and_are_resumed(tmp_path):
    store = make_store(tmp_path / "demos", 3)
    assert store.read_features("abc", "left") is None
    assert write_features(tmp_path / "demos", 10) == 0
    assert store.read_features("abc", "left") is None
    assert write_features(tmp_path / "demos") == 10
    assert_features(tmp_path / "demos")
    assert store.read_features("abc", "left") is not None
    assert store.read_features("abd", "left") is None
    assert write_features(tmp_path / "demos") == store.num_steps


def test_features_go_stale_and_are_extended_when_episodes_are_appended(tmp_path):
    store = make_store(tmp_path / "demos", 3)
    write_features(tmp_path / "demos")
    with DemonstrationStore.open(tmp_path / "demos", "a") as writer:
        assert writer.read_features("abc", "left") is not None
        writer.append_episode(make_episode(3))
        assert writer.read_features("abc", "left") is None
    assert store.read_features("abc", "left") is not None  # as of three episodes
    assert write_features(tmp_path / "demos") == store.num_steps
    assert_features(tmp_path / "demos")


def test_features_of_other_episodes_are_dropped(tmp_path):
    make_store(tmp_path / "demos", 3)
    write_features(tmp_path / "demos")
    record_path(tmp_path / "demos", "main").unlink()
    with DemonstrationStore.create(tmp_path / "demos", ATTRIBUTES) as store:
        for seed in (0, 2, 1):
            store.append_episode(make_episode(seed))
        assert store.read_features("abc", "left") is None
    assert write_features(tmp_path / "demos") == 0
    assert_features(tmp_path / "demos")


def test_a_killed_embedder_leaves_rows_that_are_gone_on_from(tmp_path):
    make_store(tmp_path / "demos", 8)
    generator = np.random.default_rng(0)
    for _ in range(8):
        writer = FORK.Process(target=write_features, args=(tmp_path / "demos",))
        writer.start()
        time.sleep(generator.uniform(0.0, 0.06))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert DemonstrationStore.open(tmp_path / "demos").verify() == []
    write_features(tmp_path / "demos")
    assert_features(tmp_path / "demos")


def test_two_encoders_write_at_once_but_not_the_same_features(tmp_path):
    store = make_store(tmp_path / "demos", 2)
    with store.add_features("abc", "left", (1, 2)), store.add_features("abd", "left", (1, 2)):
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            store.add_features("abc", "left", (1, 2), timeout_s=0)
        with DemonstrationStore.open(tmp_path / "demos", "a") as appending:
            appending.append_episode(make_episode(2))


def test_another_camera_is_added_and_read_like_the_first(tmp_path):
    store = make_store(tmp_path / "demos", 3)
    right = 255 - store.steps(slice(None), ["rgb/left"])["rgb/left"]
    with store.add_observation("rgb/right", (8, 10, 3), np.uint8) as writer:
        writer.append(right[:20])
        assert "rgb/right" not in store.array_names
        with pytest.raises(StoreArrayError, match="at most"):
            writer.append(right)
        with pytest.raises(StoreArrayError, match="float64"):
            writer.append(right[20:].astype(float))
        writer.append(right[20:])
    assert "rgb/right" in store.array_names
    np.testing.assert_array_equal(
        store.episode(1, ["rgb/right"])["rgb/right"][0], right[store.episode_offsets[1]]
    )
    with pytest.raises(StoreExistsError, match="collected"):
        store.add_observation("rgb/left", (8, 10, 3), np.uint8)
    with pytest.raises(StoreArrayError, match="as stored before"):
        store.add_observation("rgb/right", (9, 10, 3), np.uint8)


# Checking


def test_the_verify_command_names_what_is_damaged(tmp_path, capsys):
    make_store(tmp_path / "demos", 3)
    write_features(tmp_path / "demos")
    assert verify([str(tmp_path / "demos")]) == 0
    assert "3 episodes" in capsys.readouterr().out
    for array in ("features/abc/left", "observations/rgb/left"):
        chunk = next((tmp_path / "demos" / array).glob("c.0.*"))
        content = bytearray(chunk.read_bytes())
        content[7] ^= 4
        chunk.write_bytes(content)
    assert verify([str(tmp_path / "demos")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "observations/rgb/left, chunk 0",
        "features/abc/left, chunk 0",
    ]
    with pytest.raises(CorruptStoreError):
        DemonstrationStore.open(tmp_path / "demos").read_features("abc", "left")
    assert verify([str(tmp_path / "none")]) == 1
    assert "there is none" in capsys.readouterr().err
    assert verify([]) == 2


def test_a_damaged_feature_record_does_not_hide_the_demonstrations(tmp_path):
    make_store(tmp_path / "demos", 2)
    write_features(tmp_path / "demos")
    record = record_path(tmp_path / "demos", "features/abc/left")
    record.write_bytes(record.read_bytes().replace(b'"rows"', b'"rowz"', 1))
    store = DemonstrationStore.open(tmp_path / "demos")
    np.testing.assert_array_equal(
        store.steps(slice(None), ["actions"])["actions"], flat(2)["actions"]
    )
    assert [problem.array for problem in store.verify()] == ["features/abc/left"]


def test_verify_runs_as_a_module(tmp_path):
    make_store(tmp_path / "demos", 1)
    done = subprocess.run(
        [sys.executable, "-m", "egodtm_robot.demos.verify", str(tmp_path / "demos")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "all intact" in done.stdout


def test_the_estimate_bounds_what_is_written_and_opening_is_cheap(tmp_path):
    path = tmp_path / "demos"
    store = make_store(path, 30)
    arrays = flat(30)
    rows = {name: (values.shape[1:], values.dtype) for name, values in arrays.items()}
    used = sum(
        file.stat().st_size
        for name in rows
        for folder in (path / name, path / "observations" / name)
        for file in folder.glob("c.*")
    )
    estimate = estimate_bytes(store.num_steps, rows)
    assert sum(values.nbytes for values in arrays.values()) <= estimate
    assert 0.9 * used < estimate < 1.3 * used  # noise does not compress
    times = []
    for _ in range(5):
        start = time.perf_counter()
        DemonstrationStore.open(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
