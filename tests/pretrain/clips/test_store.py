import dataclasses
import multiprocessing
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from egodtm_robot.core import storage
from egodtm_robot.core.errors import (
    CorruptStoreError,
    ForeignStoreError,
    InvalidClipError,
    StoreExistsError,
    StoreLockedError,
    StoreNotFoundError,
    StoreReadOnlyError,
    UnknownNameError,
)
from egodtm_robot.core.storage import CommittedGroup
from pretrain.clips import Boxes, Clip, ClipStore, ClipStoreWriter
from pretrain.clips.store import FIELDS
from pretrain.clips.verify import main as verify

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip, make_store

FORK = multiprocessing.get_context("fork")


def assert_same(stored: Clip, given: Clip) -> None:
    for field in dataclasses.fields(Clip):
        found, wanted = getattr(stored, field.name), getattr(given, field.name)
        if field.name == "boxes":
            for part in dataclasses.fields(Boxes):
                a, b = getattr(found, part.name), getattr(wanted, part.name)
                assert type(a) is type(b)
                np.testing.assert_array_equal(a, b)
                assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        elif field.name == "depth" and wanted is not None:
            assert found.dtype == np.float32
            farthest = np.nan_to_num(wanted).max()
            np.testing.assert_allclose(found, wanted, atol=farthest / 65_535)
        elif isinstance(wanted, np.ndarray):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)
        else:
            assert found == wanted


def varied_clip(seed: int) -> Clip:
    """With or without depth, masks, pose, boxes; holes in the depth; letters beyond ASCII."""
    clip = make_clip(seed, size=20, grid=6, depth=seed % 3 > 0)
    if clip.depth is not None:
        clip.depth[0, :2] = np.nan
        clip.depth_kind = "relative" if seed % 2 else "metric"
    if seed % 2:
        clip.masks = None
        clip.camera_pose = np.random.default_rng(seed).normal(size=(4, 7)).astype(np.float32)
    if seed % 4 == 0:
        clip.boxes = Boxes.empty()
    return dataclasses.replace(clip, caption=f"#C C rührt die Suppe {seed} um", distractors=())


def write_varied(path: Path, count: int, step: int = 3) -> ClipStore:
    with ClipStoreWriter.create(path, {"by": "test"}, depth_shape=(6, 6)) as writer:
        for start in range(0, count, step):
            writer.append([varied_clip(seed) for seed in range(start, min(start + step, count))])
    return ClipStore.open(path)


def test_clips_come_back_as_they_were_given(tmp_path):
    store = write_varied(tmp_path / "clips", 13)
    assert len(store) == 13
    assert store.attributes == [{"by": "test"}]
    for index, clip in enumerate(store):
        assert_same(clip, varied_clip(index))
    assert store.has("depth").tolist() == [seed % 3 > 0 for seed in range(13)]
    assert store.has("masks").tolist() == [seed % 2 == 0 for seed in range(13)]
    assert store.verify() == []


def test_fields_are_read_for_any_clips_in_any_order(tmp_path):
    store = write_varied(tmp_path / "clips", 9)
    order = [8, 0, 0, 5]
    read = store.read(order, FIELDS)
    for position, index in enumerate(order):
        assert_same(Clip(**{name: read[name][position] for name in FIELDS}), varied_clip(index))
    assert store.read([], ["frames"]) == {"frames": []}
    with pytest.raises(UnknownNameError, match="'frames'"):
        store.read([0], ["frame"])
    for index in (-1, 9):
        with pytest.raises(IndexError, match="0 to 8"):
            store.read([index], ["caption"])
        with pytest.raises(IndexError, match="0 to 8"):
            store[index]


def test_what_the_farthest_pixel_is_does_not_matter(tmp_path):
    clips = [make_clip(seed) for seed in range(3)]
    clips[0].depth *= 1e4
    clips[1].depth[:] = 0
    clips[2].depth[:] = np.nan
    with ClipStoreWriter.create(tmp_path / "clips") as writer:
        writer.append(clips)
    store = ClipStore.open(tmp_path / "clips")
    for index, clip in enumerate(clips):
        assert_same(store[index], clip)


def test_one_chunk_is_one_clip_and_any_zarr_reader_opens_it(tmp_path):
    make_store(tmp_path / "clips", range(5))
    group = zarr.open_group(tmp_path / "clips", mode="r")["shard_0000"]
    assert group["frames"].shape == (5, 4, 32, 32, 3)
    assert group["frames"].chunks == (1, 4, 32, 32, 3)
    assert group["depth"].chunks == (1, 4, 8, 8)
    assert group["depth"].dtype == np.uint16
    np.testing.assert_array_equal(group["frames"][2], make_clip(2).frames)
    depth = group["depth"][2] * group["depth_scale"][2]
    np.testing.assert_allclose(depth, make_clip(2).depth, atol=1e-4)


def test_shards_and_stores_are_read_as_one(tmp_path):
    make_store(tmp_path / "a", range(10), shards=3)
    make_store(tmp_path / "b", range(10, 14), size=16, grid=4)
    store = ClipStore.open([tmp_path / "a", tmp_path / "b"])
    assert [clip.extra["seed"] for clip in store] == list(range(14))
    assert_same(store[13], make_clip(13, size=16, grid=4))
    assert [c.extra["seed"] for c in ClipStore.open(tmp_path / "a" / "shard_0001")] == [4, 5, 6]
    copy = pickle.loads(pickle.dumps(store))
    assert_same(copy[12], store[12])
    assert copy.fingerprint == store.fingerprint


def test_a_copy_sees_the_same_clips_when_the_store_has_grown(tmp_path):
    store = ClipStore.open(make_store(tmp_path / "clips", range(3)))
    pickled = pickle.dumps(store)
    with ClipStoreWriter.open(tmp_path / "clips") as writer:
        assert len(writer) == 3
        assert writer.attributes == {"maker": "squares"}
        writer.append([make_clip(3)])
    copy = pickle.loads(pickled)
    assert len(copy) == len(copy.has("depth")) == 3
    grown = ClipStore.open(tmp_path / "clips")
    assert_same(grown[3], make_clip(3))
    assert grown.fingerprint != store.fingerprint == grown.prefix_fingerprint(3)


def test_two_writers_fill_two_shards_and_never_one(tmp_path):
    with ClipStoreWriter.create(tmp_path / "clips", shard=0) as first:
        with pytest.raises(StoreLockedError):
            ClipStoreWriter.create(tmp_path / "clips", shard=0, timeout_s=0)

        def second() -> None:
            with ClipStoreWriter.create(tmp_path / "clips", shard=1) as writer:
                writer.append([make_clip(5)])

        process = FORK.Process(target=second)
        process.start()
        first.append([make_clip(4)])
        process.join(60)
        assert process.exitcode == 0

        def intruder() -> None:
            with pytest.raises(StoreLockedError, match=f"process {os.getppid()}"):
                ClipStoreWriter.open(tmp_path / "clips", shard=0, timeout_s=0)
            with pytest.raises(StoreReadOnlyError):
                first.append([make_clip(0)])

        process = FORK.Process(target=intruder)
        process.start()
        process.join(60)
        assert process.exitcode == 0
    assert [c.extra["seed"] for c in ClipStore.open(tmp_path / "clips")] == [4, 5]
    with pytest.raises(StoreExistsError):
        ClipStoreWriter.create(tmp_path / "clips", shard=1)


@pytest.mark.parametrize("moment", range(0, 12, 2))
def test_a_writer_killed_at_any_moment_leaves_whole_clips(tmp_path, monkeypatch, moment):
    make_store(tmp_path / "clips", range(2))

    def die() -> None:
        replace, calls = os.replace, 0

        def count(*arguments: object) -> None:
            nonlocal calls
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            replace(*arguments)

        monkeypatch.setattr(os, "replace", count)
        with ClipStoreWriter.open(tmp_path / "clips") as writer:
            writer.append([make_clip(2), make_clip(3)])

    process = FORK.Process(target=die)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    store = ClipStore.open(tmp_path / "clips")
    assert [clip.extra["seed"] for clip in store] == [0, 1]
    assert store.verify() == []
    with ClipStoreWriter.open(tmp_path / "clips") as writer:
        writer.append([make_clip(2)])
    store = ClipStore.open(tmp_path / "clips")
    assert_same(store[2], make_clip(2))
    assert store.verify() == []


def test_a_shard_whose_writer_died_before_its_first_clip_is_empty(tmp_path):
    ClipStoreWriter.create(tmp_path / "clips").close()
    store = ClipStore.open(tmp_path / "clips")
    assert (len(store), store.verify(), len(store.has("depth"))) == (0, [], 0)
    make_store(tmp_path / "more", range(2))
    assert len(ClipStore.open([tmp_path / "clips", tmp_path / "more"])) == 2


@pytest.mark.parametrize("name", ["frames/c.1.0.0.0.0", "depth/c.0.0.0.0", "text/c.0.0",
                                  "boxes/xyxy/c.0.0", "index/c.0.0"])  # fmt: skip
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_found_and_named(tmp_path, capsys, name, damage):
    make_store(tmp_path / "clips", range(3))
    file = tmp_path / "clips" / "shard_0000" / name
    if not file.exists():
        file = file.with_name("c.0")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    store = ClipStore.open(tmp_path / "clips")
    array = name.rpartition("/")[0]
    assert [p.array for p in store.verify()] == [f"shard_0000/{array}"]
    with pytest.raises(CorruptStoreError, match=f"Array '{array}', chunk"):
        list(store)
    assert verify([str(tmp_path / "clips")]) == 1
    assert array in capsys.readouterr().out


def test_verify_says_what_is_intact(tmp_path, capsys):
    make_store(tmp_path / "clips", range(3), shards=2)
    assert verify([str(tmp_path / "clips")]) == 0
    assert "3 clips in 2 shards, all intact" in capsys.readouterr().out
    assert verify([]) == 2
    assert verify([str(tmp_path / "nothing")]) == 1


def test_a_changed_commit_record_is_refused(tmp_path):
    make_store(tmp_path / "clips", range(2))
    record = tmp_path / "clips" / "shard_0000" / ".commits" / "main.json"
    record.write_bytes(record.read_bytes().replace(b"squares", b"circles"))
    with pytest.raises(CorruptStoreError, match="checksum"):
        ClipStore.open(tmp_path / "clips")


def test_paths_without_clips_are_refused(tmp_path):
    with pytest.raises(StoreNotFoundError, match="nothing"):
        ClipStore.open(tmp_path / "nothing")
    with pytest.raises(StoreNotFoundError, match="at least one path"):
        ClipStore.open([])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(StoreNotFoundError):
        ClipStore.open(tmp_path / "other")
    with pytest.raises(StoreExistsError, match=r"thesis\.tex"):
        ClipStoreWriter.create(tmp_path / "other")
    with pytest.raises(StoreExistsError, match="is a file"):
        ClipStoreWriter.create(tmp_path / "other" / "thesis.tex")
    with pytest.raises(StoreNotFoundError):
        ClipStoreWriter.open(tmp_path / "other")


def test_a_store_of_something_else_is_refused(tmp_path):
    folder = tmp_path / "demos" / "shard_0000"
    with CommittedGroup.create(folder, storage.ROOT_RECORD, {"environment": "kitchen"}) as group:
        group.append({"frames": np.zeros((2, 3), np.uint8)})
    for path in (tmp_path / "demos", folder):
        with pytest.raises(ForeignStoreError, match="egodtm-robot-clips"):
            ClipStore.open(path)
    with pytest.raises(ForeignStoreError):
        ClipStoreWriter.open(tmp_path / "demos")


def test_clips_that_contradict_themselves_or_the_store_are_refused(tmp_path):
    good = make_clip(1)
    bad_boxes = dataclasses.replace(good.boxes, xyxy=good.boxes.xyxy * 3)
    nan_boxes = dataclasses.replace(good.boxes, xyxy=good.boxes.xyxy * np.float32(np.nan))
    late = dataclasses.replace(good.boxes, frame=good.boxes.frame + np.int16(1))
    cases = [
        ({"frames": good.frames.astype(np.float32)}, "uint8 as frames, got float32"),
        ({"frames": good.frames[..., :2]}, r"\(T, H, W, 3\)"),
        ({"frames": good.frames[:, :16]}, "frames of one shape"),
        ({"depth": None}, "depth_kind"),
        ({"depth": good.depth[:3]}, r"depth \(4, h, w\)"),
        ({"depth": -good.depth}, "0 or more"),
        ({"depth": good.depth[:, :4]}, r"depth of \(8, 8\) pixels"),
        ({"depth": good.depth * np.float32(np.inf)}, "inf"),
        ({"depth_kind": "feet"}, "'feet'"),
        ({"masks": good.masks[:, :4]}, "masks of"),
        ({"camera_pose": np.zeros((3, 7), np.float32)}, "camera_pose"),
        ({"boxes": bad_boxes}, "boxes.xyxy within 0 to 1"),
        ({"boxes": nan_boxes}, "boxes.xyxy"),
        ({"boxes": late}, "boxes.frame within 0 to 3"),
        ({"caption": None}, "text in caption"),
        ({"extra": {"array": good.frames}}, "JSON"),
    ]
    make_store(tmp_path / "clips", range(1))
    with ClipStoreWriter.open(tmp_path / "clips") as writer:
        for changes, message in cases:
            with pytest.raises(InvalidClipError, match=message):
                writer.append([good, dataclasses.replace(good, **changes)])
        with pytest.raises(InvalidClipError, match="do not fit"):
            writer.append([make_clip(1, size=16)])
        writer.append([])
        assert len(writer) == 1
        writer.append([good])
    assert ClipStore.open(tmp_path / "clips").verify() == []


def test_depth_that_comes_late_needs_its_shape_declared(tmp_path):
    with ClipStoreWriter.create(tmp_path / "clips") as writer:
        writer.append([make_clip(0, depth=False)])
        with pytest.raises(InvalidClipError, match="Name depth_shape"):
            writer.append([make_clip(1)])
