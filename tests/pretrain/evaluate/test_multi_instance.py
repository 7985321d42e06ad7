"""EPIC-KITCHENS-100's retrieval on small clips, and with the published table of sentences."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pretrain.clips.sources.tables import AnnotationFileError
from pretrain.clips.store import ClipStore, ClipStoreWriter
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.loader import LoaderConfig
from pretrain.evaluate.multi_instance import MultiInstanceRetrieval
from pretrain.evaluate.task import EvaluationDataError

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip
from fake_models import Lettering


def records(similarity, verbs, nouns, narrations=None, videos=None):
    """Records of clips whose similarities to all narrations are the rows of a matrix."""
    count = len(similarity)
    return [
        {
            "item": row,
            "clip": f"epic/{row}",
            "video": f"video {row}" if videos is None else videos[row],
            "key": f"P01_{row}",
            "narration": f"narration {row}" if narrations is None else narrations[row],
            "verb": verbs[row],
            "nouns": json.dumps(nouns[row]),
            "video_embedding": np.asarray(similarity[row], np.float32),
            "text_embedding": np.eye(count, dtype=np.float32)[row],
        }
        for row in range(count)
    ]


VERBS, NOUNS = ["take", "take", "put", "wash"], [["a"], ["a", "b"], ["a"], ["c"]]


def test_an_oracle_has_all_and_directions_are_not_confused():
    relevancy = np.array(
        [[1, 0.75, 0.5, 0], [0.75, 1, 0.25, 0], [0.5, 0.25, 1, 0], [0, 0, 0, 1]], float
    )
    scores = MultiInstanceRetrieval().score(records(relevancy, VERBS, NOUNS))
    assert scores.headline.value == scores.numbers["ndcg"].value == 1
    assert scores.facts["clips"] == scores.facts["sentences"] == 4
    assert 0 < scores.facts["chance_map"] < 1
    # Every sentence finds clip 0 first, and clips still rank their own sentence first.
    loud = relevancy.copy()
    loud[0] += 5 + np.arange(4)[::-1] / 10
    plain = MultiInstanceRetrieval().score(records(loud, VERBS, NOUNS)).plain()
    assert plain["video_to_text"]["map"] == 1
    assert plain["text_to_video"]["map"] < 0.8
    both = [plain[name]["map"] for name in ("video_to_text", "text_to_video")]
    assert plain["map"] == pytest.approx(np.mean(both))


def test_the_mean_of_both_directions_does_not_weigh_the_larger_gallery_more():
    names = ["same", "same", "same", "other"]
    similarity = np.random.default_rng(0).normal(size=(4, 4))
    found = MultiInstanceRetrieval().score(
        records(similarity, ["take"] * 3 + ["put"], [["a"]] * 4, names)
    )
    plain = found.plain()
    assert (plain["clips"], plain["sentences"]) == (4, 2)
    for measure in ("map", "ndcg"):
        both = [plain[name][measure] for name in ("video_to_text", "text_to_video")]
        assert plain[measure] == pytest.approx(np.mean(both))
    assert [row["item"] for row in found.outcomes] == list(range(6))


def test_the_published_table_chooses_the_sentences(tmp_path):
    table = tmp_path / "sentences.csv"
    table.write_text("narration_id,narration\nP01_1,x\nP01_0,y\nP01_2,z\nP01_3,u\n")
    similarity = np.random.default_rng(0).normal(size=(4, 4))
    own = MultiInstanceRetrieval().score(records(similarity, VERBS, NOUNS))
    task = MultiInstanceRetrieval(sentences=str(table))
    found = task.score(records(similarity, VERBS, NOUNS))
    assert found.headline.value == pytest.approx(own.headline.value)
    assert [row["query"] for row in found.outcomes[4:]] == ["P01_1", "P01_0", "P01_2", "P01_3"]
    table.write_text("narration_id,narration\nP01_1,x\nP07_9,y\n")
    with pytest.raises(EvaluationDataError, match="1 are missing, P07_9 first"):
        task.score(records(similarity, VERBS, NOUNS))
    table.write_text("narration_id,narration\nP01_1,x\nP01_0,y\n")
    with pytest.raises(EvaluationDataError, match="sentences are of another set"):
        task.score(records(similarity, VERBS, NOUNS))


def test_what_can_not_be_scored_is_named():
    similarity = np.eye(4)
    with pytest.raises(EvaluationDataError, match="at least two sentences"):
        MultiInstanceRetrieval().score(records(similarity, VERBS, NOUNS, ["same"] * 4))
    similarity[2, 1] = np.nan
    with pytest.raises(EvaluationDataError, match="video_embedding of epic/2"):
        MultiInstanceRetrieval().score(records(similarity, VERBS, NOUNS))


def test_clips_of_a_store_bring_their_classes_or_are_refused(tmp_path):
    clips = [make_clip(seed) for seed in range(6)]
    named = [
        dataclasses.replace(clip, extra={"action": clip.caption.split()[-1], "subject": "square"})
        for clip in clips
    ]
    for name, content in (("named", named), ("unnamed", clips), ("mixed", named[:3] + clips[3:])):
        with ClipStoreWriter.create(tmp_path / name) as writer:
            writer.append(content)
    data = {
        name: EvaluationClips(
            ClipStore.open(tmp_path / name),
            resolution=32,
            loader=LoaderConfig(template="a view of {}"),
        )
        for name in ("named", "unnamed", "mixed")
    }
    task, model = MultiInstanceRetrieval(), Lettering()
    assert task.lacks(model, data["named"]) is None
    assert "classes" in task.lacks(model, data["unnamed"])
    found = task.measure(model, data["named"], range(6))
    assert {record["verb"] for record in found} <= {"left", "right", "up", "down"}
    assert found[0]["narration"] == clips[0].narration
    np.testing.assert_array_equal(
        found[0]["text_embedding"], model.encode_text([f"a view of {clips[0].narration}"])[0]
    )
    # Sentences of another split are refused before the model is asked.
    table = tmp_path / "sentences.csv"
    table.write_text("narration_id,narration\nP07_9,y\n")
    with pytest.raises(EvaluationDataError, match="1 are missing, P07_9 first"):
        MultiInstanceRetrieval(sentences=str(table)).size(data["named"])
    table.write_text("narration_id,narration\nP07_9,y\n,z\n")
    with pytest.raises(AnnotationFileError, match="sentences.csv:3.*narration_id"):
        MultiInstanceRetrieval(sentences=str(table)).size(data["named"])
    with pytest.raises(EvaluationDataError, match="squares/square/3 has none"):
        task.measure(model, data["mixed"], range(6))
