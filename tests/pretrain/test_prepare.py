import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.configuration import compose
from pretrain.clips import ClipStore
from pretrain.prepare import PrepareConfig, main, prepare

FAKES = Path(__file__).parents[1] / "fakes"
sys.path.append(str(FAKES))
from fake_clips import make_store

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

    def make(out="out", stages=tuple(ANNOTATORS), workers=0, **options):
        lines = [
            "source=synthetic",
            f"source.store={squares}",
            f"out={tmp_path / out}",
            "decoding.resolution=32",
            "shard_clips=3",
            f"runner.workers={workers}",
        ]
        for stage in stages:
            lines.append(f"{stage}._target_=fake_annotators.{ANNOTATORS[stage]}")
            lines.append(f"+{stage}.log={tmp_path / 'log'}")
        for name, value in options.items():
            name = name.replace("__", ".")
            added = name.split(".")[0] in ANNOTATORS and "." in name
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
