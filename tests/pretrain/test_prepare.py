import csv
import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    ConfigurationError,
    CorruptStoreError,
    DiskSpaceError,
    ForeignStoreError,
    StoreExistsError,
    StoreLockedError,
    UnknownNameError,
    WorkerDiedError,
)
from pretrain.annotate.errors import AnnotatorRefusedError
from pretrain.clips import ClipStore, ClipStoreWriter
from pretrain.preparation import stage_files
from pretrain.preparation.scheduler import MissingStageError
from pretrain.prepare import PrepareConfig, main, prepare

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_clips import make_clip, make_store

ROOT = Path(__file__).parents[2]

ANNOTATORS = {
    "depth": "FakeDepth",
    "hands_objects": "FakeDetector",
    "tracking": "FakeTracker",
    "captions": "FakeCaptions",
}
CLIPS = 7


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A store whose clips stand for videos."""
    return make_store(tmp_path_factory.mktemp("squares") / "store", range(CLIPS))


@pytest.fixture
def overrides(squares, tmp_path):
    """The command line of a preparation with fake annotators, in this process."""

    def make(out="out", annotators=tuple(ANNOTATORS), workers=0, **options):
        lines = [
            "source=synthetic",
            f"source.store={squares}",
            f"out={tmp_path / out}",
            "decoding.resolution=32",
            "shard_clips=3",
            f"runner.workers={workers}",
        ]
        for stage in annotators:
            lines.append(f"{stage}._target_=fake_annotators.{ANNOTATORS[stage]}")
            lines.append(f"+{stage}.log={tmp_path / 'log'}")
        for name, value in options.items():
            name = name.replace("__", ".")
            added = name.split(".")[0] in ANNOTATORS and not name.endswith("_target_")
            lines.append(f"{'+' if added else ''}{name}={value}")
        return lines

    return make


@pytest.fixture
def run(overrides):
    def prepared(*arguments, **options):
        return prepare(compose(PrepareConfig, "prepare", overrides(*arguments, **options)))

    return prepared


@pytest.fixture
def log(tmp_path):
    """Keys that a stage was given since the last time it was asked for, in their order."""
    position = 0

    def read(stage):
        nonlocal position
        file = tmp_path / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        new, position = lines[position:], len(lines)
        return [key for line in new for key in line.split()[1:] if line.split()[0] == stage]

    return read


def keys(out):
    store = ClipStore.open(out)
    return store.read(range(len(store)), ["key"])["key"]


def failures(out):
    with open(out / ".prepare" / "failures.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_store_holds_what_every_stage_wrote(run, squares, tmp_path):
    report = run()
    store, source = ClipStore.open(tmp_path / "out"), ClipStore.open(squares)
    assert len(store) == CLIPS
    assert not store.verify()
    for index in range(CLIPS):
        clip, origin = store[index], source[index]
        assert clip.key == origin.key
        np.testing.assert_array_equal(clip.frames, origin.frames)
        expected = (256 - origin.frames[:, ::4, ::4].mean(axis=-1)) / 64
        np.testing.assert_allclose(clip.depth[:, 1:], expected[:, 1:], atol=1e-4)
        assert np.isnan(clip.depth[:, 0, 0]).all()
        assert clip.depth_kind == "relative"
        assert clip.boxes.track.tolist() == [0] * 4
        assert clip.boxes.xyxy[0, 0] == pytest.approx(np.nanmean(clip.depth[0]) / 10, abs=1e-3)
        assert (clip.masks == 1).all()
        assert clip.caption == f"{origin.narration}, 4 boxes, version 1"
        assert clip.distractors == (f"not {origin.narration}",)
        assert (clip.scene, clip.source, clip.licence) == (origin.scene, "squares", "CC0-1.0")
        assert len(clip.extra["times_s"]) == 4
        assert clip.extra["caption_report"]["writer"] == "template"
    assert (report["clips_in"], report["clips_out"], report["failures"]) == (CLIPS, CLIPS, 0)
    assert report["hand_detections_per_clip"] == 4
    assert report["caption_fallback_rate"] == pytest.approx(1 / CLIPS, abs=1e-3)
    assert report["stages"]["captions"]["fallbacks"] == {"verb": 1}
    assert json.loads((tmp_path / "out/.prepare/report.json").read_text())["clips_out"] == CLIPS


def test_a_second_run_does_nothing(run, log, tmp_path):
    run()
    assert len(log("depth")) == CLIPS
    before = ClipStore.open(tmp_path / "out").fingerprint
    report = run()
    assert report["jobs"] == 0
    assert log("depth") == []
    assert ClipStore.open(tmp_path / "out").fingerprint == before


def test_one_stage_is_made_anew_alone(run, log, tmp_path):
    run()
    log("depth")
    size = (tmp_path / "out/.prepare/decode/shard_0000.npz").stat().st_size
    assert size < 3 * 4 * 32 * 32 * 3, "frames were kept twice"
    # The other stages are neither asked for nor looked at.
    report = run(annotators=["captions"], captions__version=2, stages="[captions]")
    assert report["jobs"] == 6
    lines = (tmp_path / "log").read_text().splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["captions"] * 3
    store = ClipStore.open(tmp_path / "out")
    assert all(store[index].caption.endswith("version 2") for index in range(CLIPS))
    assert store.has("depth").all()
    assert len(store[0].boxes) == 4


def test_what_depends_on_a_changed_stage_is_made_anew(run, tmp_path):
    def stages_of(lines):
        return [line.split()[0] for line in lines]

    run()
    seen = len((tmp_path / "log").read_text().splitlines())
    run(tracking__version=2)
    lines = (tmp_path / "log").read_text().splitlines()[seen:]
    assert set(stages_of(lines)) == {"tracking", "captions"}
    run(tracking__version=2, decoding__sampling="random")
    lines = (tmp_path / "log").read_text().splitlines()[seen + len(lines) :]
    assert set(stages_of(lines)) == set(ANNOTATORS)


def test_a_stage_alone_needs_those_before_it(run):
    with pytest.raises(MissingStageError, match="decode has not run"):
        run(annotators=["captions"], stages="[captions]")
    run(annotators=["depth"])
    with pytest.raises(MissingStageError, match="decode ran on other clips"):
        run(annotators=["captions"], decoding__frames=2, stages="[captions]")


def test_failures_are_told_and_cost_no_other_clip(run, tmp_path):
    report = run(
        depth__fails="[square/1]", hands_objects__raises="[square/5]", captions__fails="[square/3]"
    )
    assert keys(tmp_path / "out") == ["square/0", "square/2", "square/4", "square/6"]
    assert (report["clips_in"], report["clips_out"], report["failures"]) == (7, 4, 3)
    found = {row["key"]: (row["stage"], row["reason"]) for row in failures(tmp_path / "out")}
    assert found == {
        "square/1": ("depth", "Expected a nice clip, got another."),
        "square/5": ("hands_objects", "ValueError: cannot look at square/5"),
        "square/3": ("captions", "Expected a nice clip, got another."),
    }
    # Nothing is tried again unasked; then it is, and what depends on it follows.
    assert run(depth__fails="[square/1]", hands_objects__raises="[square/5]",
               captions__fails="[square/3]")["jobs"] == 0  # fmt: skip
    report = run(retry_failed=True)
    assert report["failures"] == 0
    assert keys(tmp_path / "out") == [f"square/{index}" for index in range(CLIPS)]
    assert not ClipStore.open(tmp_path / "out").verify()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_annotator_that_would_refuse_every_clip_stops_the_run(run, tmp_path, workers):
    with pytest.raises(AnnotatorRefusedError, match="wrong key"):
        run(workers=workers, captions__refuses="[square/4]")
    report = run(workers=workers)
    assert (report["clips_out"], report["failures"]) == (CLIPS, 0)
    assert keys(tmp_path / "out") == [f"square/{index}" for index in range(CLIPS)]


def test_frames_of_a_clip_that_leaves_the_store_are_kept(run, squares, tmp_path):
    run()
    run(captions__version=2, captions__fails="[square/2]")
    assert "square/2" not in keys(tmp_path / "out")
    report = run(captions__version=3)
    assert report["failures"] == 0
    store, source = ClipStore.open(tmp_path / "out"), ClipStore.open(squares)
    np.testing.assert_array_equal(store[2].frames, source[2].frames)
    # Only captions were made anew: nothing was decoded a second time.
    lines = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines.count("depth") == 3


def test_processes_write_the_same_store(run, tmp_path):
    run("one")
    run("two", workers=2)
    one, two = ClipStore.open(tmp_path / "one"), ClipStore.open(tmp_path / "two")
    assert one.fingerprint == two.fingerprint


def test_a_killed_worker_is_replaced_and_nothing_is_lost(run, squares, tmp_path):
    report = run(workers=2, hands_objects__kills_once="[square/4]")
    assert (report["clips_out"], report["failures"]) == (CLIPS, 0)
    store, source = ClipStore.open(tmp_path / "out"), ClipStore.open(squares)
    assert [store[i].key for i in range(CLIPS)] == [source[i].key for i in range(CLIPS)]


def test_a_clip_that_kills_workers_is_found_out(run, tmp_path):
    report = run(workers=1, hands_objects__kills="[square/4]")
    assert (report["clips_out"], report["failures"]) == (CLIPS - 1, 1)
    (row,) = failures(tmp_path / "out")
    assert (row["key"], row["stage"]) == ("square/4", "hands_objects")
    assert "2 workers died at this clip; the last one was killed by SIGKILL" in row["reason"]


def test_workers_that_die_of_everything_stop_the_run(run):
    with pytest.raises(WorkerDiedError, match="hands_objects of shard 0, but 1 of them died"):
        run(workers=1, hands_objects__kills="[square/4,square/0]", runner__retries=0)


def test_a_run_killed_by_force_goes_on(overrides, squares, tmp_path):
    arguments = overrides(workers=1, depth__sleep_s=0.3)
    process = subprocess.Popen(
        [sys.executable, "-m", "pretrain.prepare", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests/fakes")},
        stderr=subprocess.PIPE,
    )
    file = tmp_path / "log"
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().count("depth") >= 2):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    time.sleep(0.5)  # its worker ends with it
    done = len(file.read_text().splitlines())
    config = compose(PrepareConfig, "prepare", overrides(depth__sleep_s=0.3))
    assert prepare(config)["clips_out"] == CLIPS
    assert keys(tmp_path / "out") == keys(squares)
    assert not ClipStore.open(tmp_path / "out").verify()
    # At most the shard in work was repeated.
    given = [key for line in file.read_text().splitlines() for key in line.split()[1:]
             if line.startswith("depth")]  # fmt: skip
    assert done < 4 * 3
    assert len(given) <= CLIPS + 3


@pytest.mark.parametrize("moment", ["moved aside", "moved in", "before the frames are dropped"])
def test_a_kill_between_old_and_new_shard_loses_neither(
    run, squares, tmp_path, monkeypatch, moment
):
    from pretrain.preparation import assembly

    run()

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    replace, calls = os.replace, []

    def counting(source, target):
        if "shard_0001" in str(source) and Path(source).is_dir():
            calls.append(target)
            if moment == "moved aside" and len(calls) == 2:
                raise Killed
        replace(source, target)

    monkeypatch.setattr(assembly.os, "replace", counting)
    if moment == "moved in":
        monkeypatch.setattr(assembly.shutil, "rmtree", lambda path, **_: "replaced" in str(path)
                            and "shard_0001" in str(path) and die())  # fmt: skip
    if moment == "before the frames are dropped":
        keep = assembly._keep_frames

        def keep_or_die(out, shard, stored):
            if shard == 1 and len(calls) == 2:
                raise Killed
            keep(out, shard, stored)

        monkeypatch.setattr(assembly, "_keep_frames", keep_or_die)
    with pytest.raises(Killed):
        run(captions__version=2)
    monkeypatch.undo()
    assert run(captions__version=2)["clips_out"] == CLIPS
    store, source = ClipStore.open(tmp_path / "out"), ClipStore.open(squares)
    for index in range(CLIPS):
        np.testing.assert_array_equal(store[index].frames, source[index].frames)
        assert store[index].caption.endswith("version 2")
    lines = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines.count("depth") == 3, "frames were decoded anew"


def test_a_full_disk_is_named_and_what_was_written_is_kept(run, tmp_path, monkeypatch):
    save, calls = stage_files.np.savez, []

    def full(file, **arrays):
        calls.append(file)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, **arrays)

    monkeypatch.setattr(stage_files.np, "savez", full)
    with pytest.raises(DiskSpaceError, match="The disk is full: tracking of shard_0000"):
        run()
    monkeypatch.undo()
    assert sorted(path.parent.name for path in (tmp_path / "out/.prepare").glob("*/*.npz")) == [
        "decode", "depth", "hands_objects",
    ]  # fmt: skip
    assert not [path for path in (tmp_path / "out").rglob(".*shard*")], "parts of files were left"
    assert run()["clips_out"] == CLIPS


def test_too_small_a_disk_is_named_before_the_start(run, monkeypatch):
    import shutil

    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
    with pytest.raises(DiskSpaceError, match=r"Expected .* of free disk"):
        run()


def test_a_source_may_grow(squares, run, log, tmp_path):
    run(source__clips=4)
    assert len(log("depth")) == 4
    run(limit=5)
    run()
    assert keys(tmp_path / "out") == keys(squares)


def test_another_source_or_shard_size_is_refused(run, squares, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.prepare.check_free_space", _full)
    with pytest.raises(DiskSpaceError):
        run(shard_clips=5)
    monkeypatch.undo()
    run()  # nothing had come of the other plan
    with pytest.raises(ForeignStoreError, match="shards of 2 clips"):
        run(shard_clips=2)
    other = make_store(tmp_path / "other", range(20, 23))
    with pytest.raises(ForeignStoreError, match="but they are of"):
        run(source__store=other)


def _full(path, required_bytes):
    raise DiskSpaceError(errno.ENOSPC, f"no {required_bytes} bytes")


def test_other_things_are_not_written_over(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    with pytest.raises(StoreExistsError, match="holds other things"):
        run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["thesis.txt"]


def test_two_at_a_time_are_kept_apart(run, tmp_path):
    from pretrain.prepare import _locked

    with _locked(tmp_path / "out"), pytest.raises(StoreLockedError, match="preparation of"):
        run()


def test_a_damaged_stage_file_is_made_anew_or_named(run, tmp_path):
    run()
    file = tmp_path / "out/.prepare/hands_objects/shard_0001.npz"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert run()["jobs"] == 1
    assert file.read_bytes() != content[: len(content) // 2]
    changed = bytearray(file.read_bytes())
    place = changed.index(b"xyxy.npy") + 200  # within the array, not in its name
    changed[place] ^= 1
    file.write_bytes(changed)
    with pytest.raises(CorruptStoreError, match="Remove it"):
        run(tracking__version=2)


def test_lost_frames_are_decoded_anew(run, squares, tmp_path):
    import shutil

    run()
    shutil.rmtree(tmp_path / "out/shard_0001")
    run()
    assert keys(tmp_path / "out") == keys(squares)


def test_annotators_that_do_not_keep_to_their_contract_are_named(run):
    with pytest.raises(ConfigurationError, match="whose stage is 'captions'"):
        run(annotators=["depth"], **{"depth._target_": "fake_annotators.FakeCaptions"})
    with pytest.raises(ConfigurationError, match="no attribute 'Nobody'"):
        run(annotators=["depth"], **{"depth._target_": "fake_annotators.Nobody"})


def test_the_command_refuses_what_cannot_be(overrides, capsys, tmp_path):
    with pytest.raises(UnknownNameError, match="stages 'caption'"):
        compose(PrepareConfig, "prepare", overrides(stages="[caption]"))
    with pytest.raises(ConfigurationError, match="captions=none"):
        PrepareConfig(out="x", stages=["captions"])
    with pytest.raises(ConfigurationError, match="shard_clips at least 1, got 0"):
        compose(PrepareConfig, "prepare", overrides(shard_clips=0))
    with pytest.raises(ConfigurationError, match=r"depth\.model"):
        PrepareConfig(out="x", depth={"_target_": "a.B", "model": "???"})
    with pytest.raises(UnknownNameError, match="runner 'slurm'"):
        compose(PrepareConfig, "prepare", overrides(runner="slurm"))
    with pytest.raises(ConfigurationError, match=r"runner\.limits\.depht"):
        compose(PrepareConfig, "prepare", overrides(runner__limits__depht=1))
    with pytest.raises(ConfigurationError, match="in_flight at least 1, got 0"):
        compose(PrepareConfig, "prepare", overrides(in_flight=0))
    with pytest.raises(SystemExit):
        main([f"out={tmp_path / 'out'}"])
    assert "source" in capsys.readouterr().err


def test_the_command_tells_what_it_did(overrides, capsys):
    main(overrides(depth__fails="[square/1]"))
    told = capsys.readouterr().out
    assert "7 clips in, 6 out, 1 failures (1 depth)" in told
    assert "4.00 hand detections a clip; 100% of the clips have one" in told
    assert "failures.csv" in told
    main(overrides(depth__fails="[square/1]"))
    assert "6 clips, nothing was to be done" in capsys.readouterr().out


def test_a_preparation_of_which_nothing_is_left_fails_with_the_first_reason(
    overrides, capsys, tmp_path
):
    arguments = [
        "source=folder", f"source.videos={tmp_path}", f"out={tmp_path / 'out'}", "runner.workers=0",
    ]  # fmt: skip
    (tmp_path / "clips.csv").write_text("video,start,end,text\nno.mp4,0,1,a\nno.mp4,1,2,b\n")
    with pytest.raises(SystemExit):
        main(arguments)
    error = capsys.readouterr().err
    assert re.search("DatasetError: Expected at least one clip of 2 in .*, got none", error)
    assert "no.mp4/0, failed in decode: Expected a video at" in error


def test_clips_with_and_without_depth_share_a_shard(overrides, tmp_path):
    with ClipStoreWriter.create(tmp_path / "some", depth_shape=(8, 8)) as writer:
        writer.append([make_clip(seed, depth=seed % 2 == 1) for seed in range(4)])
    arguments = [
        "source=synthetic", f"source.store={tmp_path / 'some'}", "source.depth=true",
        f"out={tmp_path / 'out'}", "decoding.resolution=32", "decoding.depth_size=8",
        "runner.workers=0",
    ]  # fmt: skip
    prepare(compose(PrepareConfig, "prepare", arguments))
    store, origin = ClipStore.open(tmp_path / "out"), ClipStore.open(tmp_path / "some")
    assert store.has("depth").tolist() == [False, True] * 2
    np.testing.assert_allclose(store[1].depth, origin[1].depth, atol=1e-3)
    assert store[0].caption == origin[0].narration
