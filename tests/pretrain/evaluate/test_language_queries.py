"""EgoNLQ on videos of consecutive clips, on the published form of annotations, and its export."""

import dataclasses
import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.language_queries import (
    Ego4DWindowsSource,
    read_language_queries,
)
from pretrain.clips.sources.tables import AnnotationFileError
from pretrain.clips.store import ClipStore, ClipStoreWriter
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.language_queries import PREDICTIONS, LanguageQueries, recalls
from pretrain.evaluate.span_head import Question, fit_span_head
from pretrain.evaluate.spans import VideoSteps
from pretrain.evaluate.task import EvaluationDataError

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import COLORS, make_clip, make_store
from fake_models import Lettering


@pytest.fixture(autouse=True)
def few_passes(monkeypatch):
    monkeypatch.setattr(
        "pretrain.evaluate.language_queries.fit_span_head",
        functools.partial(fit_span_head, epochs=2),
    )


def query(text: str | None, start: float, end: float) -> dict:
    return {"query": text, "clip_start_sec": start, "clip_end_sec": end, "template": "x"}


def annotated(prefix: str = "", videos: int = 4) -> dict:
    """Videos of one clip of 20 s each, two annotations, four queries of which one has no text."""
    return {
        "version": "1",
        "videos": [
            {
                "video_uid": f"{prefix}v{video}",
                "clips": [
                    {
                        "clip_uid": f"{prefix}c{video}",
                        "video_start_sec": 100.0,
                        "video_end_sec": 120.0,
                        "annotations": [
                            {
                                "annotation_uid": "a",
                                "language_queries": [
                                    query("Where is the red mug?", 4.0, 8.0),
                                    query(None, 0.0, 2.0),
                                    query("where is the green one ", 12.0, 14.5),
                                ],
                            },
                            {
                                "annotation_uid": "b",
                                "language_queries": [query("What was blue?", 16.0, 16.0)],
                            },
                        ],
                    }
                ],
            }
            for video in range(videos)
        ],
    }


def write_json(path: Path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def window_store(path: Path, annotations: str, drop: str = "none") -> ClipStore:
    """A store of windows that show the color that a query asks for while it is the answer."""
    clips = []
    for seed, request in enumerate(Ego4DWindowsSource(annotations, "v").read()):
        assert isinstance(request, ClipRequest)
        if request.extra["clip_uid"] == drop:
            continue
        start, end = request.extra["window_s"]
        clip = make_clip(seed)
        frames = np.full_like(clip.frames, 128)
        for color, (first, last) in {"red": (4, 8), "green": (12, 14.5), "blue": (16, 16)}.items():
            if first < end and last > start:
                frames[:] = COLORS[color]
        clips.append(
            dataclasses.replace(
                clip, frames=frames, key=request.key, scene=request.scene, extra=request.extra
            )
        )
    with ClipStoreWriter.create(path) as writer:
        writer.append(clips)
    return ClipStore.open(path)


def measured(task, data):
    size = task.size(data)
    return [
        record
        for start in range(0, size, 32)
        for record in task.measure(Lettering(), data, range(start, min(start + 32, size)))
    ]


def test_windows_and_queries_are_read_as_published(tmp_path):
    content = annotated(videos=1)
    path = write_json(tmp_path / "nlq_val.json", content)
    requests = list(Ego4DWindowsSource(path, "v", seconds=6.0).read())
    assert [(one.start_s, one.end_s) for one in requests] == [
        (100, 106), (106, 112), (112, 118), (118, 120),
    ]  # fmt: skip
    assert requests[1].key == "c0/00001"
    assert requests[1].extra["window_s"] == [6, 12]
    cut = list(Ego4DWindowsSource(path, "v", "{clip_uid}.mp4", 6.0).read())
    assert (cut[1].start_s, cut[1].video) == (6, Path("v/c0.mp4"))
    queries = read_language_queries(path)
    assert [(one.annotation_uid, one.query_idx) for one in queries] == [
        ("a", 0),
        ("a", 2),
        ("b", 0),
    ]
    assert queries[2].start_s == queries[2].end_s == 16
    del content["videos"][0]["clips"][0]["video_end_sec"]
    broken = write_json(tmp_path / "broken.json", content)
    (failure,) = Ego4DWindowsSource(broken, "v").read()
    assert isinstance(failure, Failure)
    assert "start and end in the video" in failure.reason
    for content, message in (({"videos": []}, "got none"), ([1], "Expected videos with clips")):
        with pytest.raises(AnnotationFileError, match=message):
            read_language_queries(write_json(tmp_path / "other.json", content))
    for answer in ((30.0, 31.0), (9.0, 4.0), ("soon", 4.0), (float("nan"), 4.0), (-1.0, 4.0)):
        content = annotated(videos=1)
        content["videos"][0]["clips"][0]["annotations"][1]["language_queries"] = [
            query("?", *answer)
        ]
        with pytest.raises(AnnotationFileError, match=f"got {answer[0]} to .* c0, which lasts"):
            read_language_queries(write_json(tmp_path / "other.json", content))
    with pytest.raises(AnnotationFileError, match=r"source\.seconds above 0"):
        Ego4DWindowsSource(path, "v", seconds=0)


def test_the_published_file_is_read_whole(sample):
    path = sample("data/ego/ann/ego4d/nlq_val.json")
    queries = read_language_queries(path)
    assert len(queries) == 3874
    assert len({one.clip_uid for one in queries}) == 328
    windows = list(Ego4DWindowsSource(str(path), "v", seconds=60.0).read())
    assert not any(isinstance(one, Failure) for one in windows)


def test_queries_about_windows_are_scored_and_those_without_are_counted(tmp_path):
    path = write_json(tmp_path / "nlq_val.json", annotated(videos=5))
    data = EvaluationClips(window_store(tmp_path / "store", path, drop="c3"), resolution=32)
    task = LanguageQueries(annotations=path)
    assert task.lacks(Lettering(), data) is None
    records = measured(task, data)
    assert [record["item"] for record in records] == list(range(4 * 10 + 4 * 3))
    found = task.score(records)
    assert (found.facts["queries"], found.facts["videos"]) == (12, 4)
    assert found.facts["left_out"] == 3
    # The colors that a question names are where the answer is, but one answer has no length.
    assert found.numbers["untrained/r1_iou0.3"].value == pytest.approx(2 / 3)
    assert 0 < found.facts["chance/r1_iou0.3"] < found.facts["chance/r5_iou0.3"] < 1
    for name in ("head/r1_iou0.5", "head/r5_iou0.3", "head/mean_iou"):
        assert 0 <= found.numbers[name].value <= 1
    assert found.headline == found.numbers["head/r1_iou0.5"]
    assert {row["item"] for row in found.outcomes} == set(range(40, 52))
    records[2]["features"] = records[2]["features"] * np.nan
    with pytest.raises(EvaluationDataError, match="features"):
        task.score(records)


def test_queries_about_what_a_short_video_lacks_are_counted(tmp_path):
    path = write_json(tmp_path / "nlq_val.json", annotated(videos=4))
    whole = window_store(tmp_path / "whole", path)
    # The video of the last clip ends after 6 s; answers begin at 4, 12 and 16 s.
    clips = [whole[row] for row in range(len(whole))]
    kept = [c for c in clips if c.extra["clip_uid"] != "c3" or c.extra["window_s"][1] <= 6]
    assert 0 < len(clips) - len(kept) < 10
    with ClipStoreWriter.create(tmp_path / "short") as writer:
        writer.append(kept)
    data = EvaluationClips(ClipStore.open(tmp_path / "short"), resolution=32)
    task = LanguageQueries(annotations=path)
    found = task.score(measured(task, data))
    assert (found.facts["queries"], found.facts["left_out"]) == (10, 2)


def test_an_overlap_counts_if_it_is_larger_than_the_threshold():
    video = VideoSteps(np.zeros((4, 1), np.float32), np.arange(5.0))
    question = Question(video, np.zeros(1, np.float32), np.array([0.0, 2.0]))
    found = recalls(np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 1.5]]), question)
    assert found == {
        "r1_iou0.3": 0, "r1_iou0.5": 0, "r5_iou0.3": 1, "r5_iou0.5": 1, "mean_iou": 0,
    }  # fmt: skip
    half = recalls(np.array([[0.0, 1.0]]), question)
    assert (half["r1_iou0.3"], half["r1_iou0.5"], half["mean_iou"]) == (1, 0, 0.5)


def test_a_training_split_teaches_and_is_not_measured(tmp_path):
    train = write_json(tmp_path / "nlq_train.json", annotated("t", videos=4))
    val = write_json(tmp_path / "nlq_val.json", annotated(videos=2))
    window_store(tmp_path / "train", train)
    data = EvaluationClips(window_store(tmp_path / "val", val), resolution=32)
    task = LanguageQueries(val, str(tmp_path / "train"), train, str(tmp_path / "export"))
    records = measured(task, data)
    found = task.score(records)
    assert (found.facts["queries"], found.facts["training_queries"]) == (6, 12)
    folder = tmp_path / "export" / "dataset" / "nlq_official_v1"
    names = {s: set(json.loads((folder / f"{s}.json").read_text())) for s in ("train", "val")}
    assert names == {"train": {f"tc{n}" for n in range(4)}, "val": {"c0", "c1"}}
    with pytest.raises(EvaluationDataError, match="together"):
        LanguageQueries(val, str(tmp_path / "train"))
    with pytest.raises(EvaluationDataError, match="beside training"):
        LanguageQueries(None, str(tmp_path / "train"), train)


def test_the_export_is_what_vslnet_reads(tmp_path):
    path = write_json(tmp_path / "nlq_val.json", annotated(videos=3))
    data = EvaluationClips(window_store(tmp_path / "store", path), resolution=32)
    task = LanguageQueries(annotations=path, export=str(tmp_path / "data"))
    task.score(measured(task, data))
    # As VSLNet's utils/data_gen.py and utils/data_util.py read it.
    features = tmp_path / "data" / "features" / "nlq_official_v1" / "official"
    shapes = json.loads((features / "feature_shapes.json").read_text())
    assert shapes == dict.fromkeys(("c0", "c1", "c2"), 10)
    for name, length in shapes.items():
        tensor = torch.load(features / f"{name}.pt", weights_only=True)
        assert tensor.dtype == torch.float32
        assert tensor.shape == (length, 3)
    dataset = tmp_path / "data" / "dataset" / "nlq_official_v1"
    every = {}
    for split in ("train", "val", "test"):
        content = json.loads((dataset / f"{split}.json").read_text())
        every |= content
        for entry in content.values():
            duration = entry["num_frames"] / entry["fps"]
            assert duration == pytest.approx(20)
            starts = [start / entry["fps"] for start, _ in entry["timestamps"]]
            assert starts == pytest.approx([4, 12, 16])
            ends = [end / entry["fps"] for _, end in entry["timestamps"]]
            assert ends == pytest.approx([8, 16, 16])  # up to the end of a step
            assert entry["exact_times"] == [[4, 8], [12, 14.5], [16, 16]]
            assert entry["sentences"][:2] == ["where is the red mug?", "where is the green one?"]
            assert entry["annotation_uids"] == ["a", "a", "b"]
            assert entry["query_idx"] == [0, 2, 0]
    assert set(every) == {"c0", "c1", "c2"}
    predictions = json.loads((tmp_path / "data" / PREDICTIONS).read_text())
    assert predictions["version"] == "1.0"
    assert predictions["challenge"] == "ego4d_nlq_challenge"
    assert len(predictions["results"]) == 9
    one = predictions["results"][1]
    assert (one["clip_uid"], one["annotation_uid"], one["query_idx"]) == ("c0", "a", 2)
    assert 1 <= len(one["predicted_times"]) <= 5


def test_consecutive_clips_make_videos_whose_windows_do_not_know_where_clips_meet(tmp_path):
    store = ClipStore.open(make_store(tmp_path / "store", range(26)))
    data = EvaluationClips(store, resolution=32)
    task, model = LanguageQueries(), Lettering()
    assert task.lacks(model, data) is None
    records = measured(task, data)
    windows, queries = records[:26], records[26:]
    assert [len(one["features"]) for one in windows[:9]] == [4] * 7 + [1] + [4]
    both = data.frames([2, 3]).flatten(0, 1)
    np.testing.assert_allclose(
        windows[2]["features"][3], model.encode_video(both[None, 3:7])[0], atol=1e-6
    )
    assert windows[2]["centers"].tolist() == [10, 11, 12, 13]
    assert queries[10]["answer"].tolist() == [8, 12]
    assert queries[10]["sequence"] == windows[10]["sequence"] == "video_00001"
    assert windows[25]["duration_s"] == 8
    found = task.score(records)
    assert (found.facts["queries"], found.facts["videos"]) == (26, 4)
    few = EvaluationClips(store, np.arange(20), resolution=32)
    assert task.lacks(model, few) == "24 clips"


def test_what_clips_are_not_is_named(tmp_path):
    path = write_json(tmp_path / "nlq_val.json", annotated(videos=2))
    windows = EvaluationClips(window_store(tmp_path / "windows", path), resolution=32)
    assert "annotations" in LanguageQueries().lacks(Lettering(), windows)
    plain = EvaluationClips(ClipStore.open(make_store(tmp_path / "plain", range(4))), resolution=32)
    task = LanguageQueries(annotations=path)
    assert "source=ego4d_windows" in task.lacks(Lettering(), plain)
    foreign = write_json(tmp_path / "nlq_other.json", annotated("x", videos=2))
    with pytest.raises(EvaluationDataError, match="got none of 2 in .*; xc0 is missing"):
        LanguageQueries(annotations=foreign).size(windows)
    same = LanguageQueries(path, training=str(tmp_path / "windows"), training_annotations=path)
    with pytest.raises(EvaluationDataError, match="Expected other clips in training"):
        same.size(windows)
    with pytest.raises(EvaluationDataError, match="Expected export to be a folder"):
        LanguageQueries(path, export=path)
    with pytest.raises(EvaluationDataError, match="at least three scenes"):
        task.score(measured(task, windows))
