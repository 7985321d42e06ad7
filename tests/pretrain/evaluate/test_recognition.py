"""Recognition without training and by a linear probe, on clips whose colors tell the class."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from pretrain.clips.sources.tables import AnnotationFileError
from pretrain.clips.store import ClipStore, ClipStoreWriter
from pretrain.evaluate.action_classes import read_classes
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.linear_probe import LinearProbe
from pretrain.evaluate.recognition import accuracies, guessing
from pretrain.evaluate.task import EvaluationDataError
from pretrain.evaluate.zero_shot import ZeroShot

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip
from fake_models import Lettering

EPIC = "narration_id,narration,verb_class,noun_class\n"


def make_data(path: Path, seeds, label=None) -> EvaluationClips:
    """Clips whose class is their color, whatever moves; the square fills them."""
    clips = []
    for seed in seeds:
        clip = make_clip(seed)
        color = clip.caption.split()[4]
        frames = clip.frames.copy()
        frames[:] = frames[2, 16, 16]
        action = color if label is None else label(color)
        clips.append(dataclasses.replace(clip, frames=frames, extra={"action": action}))
    with ClipStoreWriter.create(path) as writer:
        writer.append(clips)
    return EvaluationClips(ClipStore.open(path), resolution=32)


def measured(task, data, model=None):
    return task.measure(model or Lettering(), data, range(task.size(data)))


def test_accuracies_over_clips_and_over_classes():
    labels = ["a", "a", "a", "b"]
    found = accuracies(labels, np.array([True, True, False, False]), list("wxyz"))
    assert found["top1"].value == 0.5
    assert found["mean_class"].value == pytest.approx((2 / 3 + 0) / 2)
    assert guessing(labels, 4) == {
        "clips": 4, "classes": 4, "classes_seen": 2, "chance": 0.25, "most_frequent": 0.75,
    }  # fmt: skip


def test_the_nearest_class_is_chosen_and_the_rank_of_the_true_one_kept(tmp_path):
    data = make_data(tmp_path / "store", range(12))
    task = ZeroShot()
    records = measured(task, data)
    model = Lettering()
    found = data.read(range(12), ["narration", "extra"])
    texts: dict[str, set[str]] = {}
    for narration, extra in zip(found["narration"], found["extra"], strict=True):
        texts.setdefault(extra["action"], set()).add(narration)
    names = sorted(texts)
    means = np.stack([model.encode_text(sorted(texts[n])).double().numpy().mean(0) for n in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for record, row in zip(records, data.embed_videos(model, range(12)) @ means.T, strict=True):
        assert record["chosen"] == names[row.argmax()]
        assert record["rank"] == 1 + (row > row[names.index(record["label"])]).sum()
    scores = task.score(records)
    assert scores.headline.value == np.mean([r["chosen"] == r["label"] for r in records])
    assert scores.facts["classes"] == len(names)


def test_a_prompt_without_place_for_the_class_is_refused():
    with pytest.raises(EvaluationDataError, match="got 'a video': it would make all"):
        ZeroShot(prompts=["#C C {}", "a video"])


def test_published_tables_name_all_classes_and_a_foreign_clip_is_refused(tmp_path):
    table = tmp_path / "EPIC_100_train.csv"
    table.write_text(EPIC + "a,take plate,0,2\nb,grab plate,0,2\nc,take plate,0,2\nd,wash,2,0\n")
    assert read_classes([table]) == {"0:2": ("take plate", "grab plate"), "2:0": ("wash",)}
    actions = tmp_path / "action_idx.txt"
    actions.write_text("red square 1\ngreen square 2\nblue square 3\nwhite square 4\nNone left 5\n")
    assert read_classes([actions])["1"] == ("green square",)
    order = ["red", "green", "blue", "white"]
    data = make_data(tmp_path / "store", range(12), order.index)
    task = ZeroShot(classes=str(actions), prompts=["a {}", "the {}"])
    found = task.score(measured(task, data))
    assert (found.facts["classes"], found.facts["chance"]) == (5, 0.2)
    fewer = tmp_path / "action_idx_2.txt"
    fewer.write_text("red square 1\n")
    with pytest.raises(EvaluationDataError, match="of the 1 classes of .* got one of class"):
        measured(ZeroShot(classes=str(fewer)), data)
    with pytest.raises(AnnotationFileError, match="nothing"):
        read_classes([tmp_path / "missing.csv"])
    for name, text, place in (
        ("empty.csv", EPIC + "a,take,0,2\nb,,0,3\n", "empty.csv:3.*narration"),
        ("nameless.txt", "red square 1\n 2\n", "nameless.txt.*a name before the number"),
        ("short.csv", "narration,verb_class\nopen,3\n", "column 'noun_class'"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AnnotationFileError, match=place):
            read_classes([tmp_path / name])
    with pytest.raises(EvaluationDataError, match="at least one prompt"):
        ZeroShot(prompts=[])


def test_a_class_that_is_as_near_as_the_true_one_stands_before_it(tmp_path):
    data = make_data(tmp_path / "store", range(8))
    alike = Lettering()
    alike.encode_video = lambda frames: frames.new_zeros((len(frames), 3)).float()
    scores = ZeroShot().score(measured(ZeroShot(), data, alike))
    assert scores.headline.value == 0
    alike.encode_video = lambda frames: frames.new_zeros((len(frames), 3)).float() + np.nan
    with pytest.raises(EvaluationDataError, match="finite"):
        ZeroShot().score(measured(ZeroShot(), make_data(tmp_path / "b", range(8)), alike))


def test_a_probe_reads_what_is_linear_in_the_features(tmp_path):
    data = make_data(tmp_path / "store", range(40))
    task = LinearProbe()
    records = measured(task, data)
    scores = task.score(records)
    assert scores.headline.value > 0.9
    assert scores.facts["folds"] == 5
    assert len(scores.outcomes) == 40
    # With the labels of other clips there is nothing to read.
    labels = np.random.default_rng(0).permutation([record["label"] for record in records])
    shuffled = [{**r, "label": str(one)} for r, one in zip(records, labels, strict=True)]
    assert task.score(shuffled).headline.value < 0.6
    with pytest.raises(EvaluationDataError, match="at least two classes"):
        task.score([{**record, "label": "red"} for record in records])
    records[3]["features"] = records[3]["features"] * np.nan
    with pytest.raises(EvaluationDataError, match="features of squares/square/3"):
        task.score(records)


def test_what_is_measured_decides_nothing(tmp_path):
    """Other labels of what is measured change neither the penalty nor what is chosen for it."""
    data = make_data(tmp_path / "store", range(12))
    make_data(tmp_path / "training", range(40, 70))
    task = LinearProbe(training=str(tmp_path / "training"))
    assert task.size(data) == 42
    records = measured(task, data)
    assert [record["item"] for record in records] == list(range(42))
    assert sum(record["training"] for record in records) == 30
    scores = task.score(records)
    changed = [r if r["training"] else {**r, "label": "red"} for r in records]
    again = task.score(changed)
    assert again.facts["penalties"] == scores.facts["penalties"]
    assert [row["chosen"] for row in again.outcomes] == [row["chosen"] for row in scores.outcomes]
    assert len(scores.outcomes) == scores.facts["clips"] == 12
    with pytest.raises(EvaluationDataError, match="Expected other clips in training"):
        LinearProbe(training=str(tmp_path / "store")).size(data)


def test_patches_are_asked_of_models_that_show_them(tmp_path):
    data = make_data(tmp_path / "store", range(6))
    task = LinearProbe(features="patches")
    assert task.lacks(Lettering(), data) == "a model with patch tokens"
    model = Lettering()
    model.patch_tokens = lambda frames: frames.float().unflatten(3, (2, 16)).mean(4)[:, :, :2]
    (record, *_) = measured(task, data, model)
    assert record["features"].shape == (4 * 3,)
    with pytest.raises(EvaluationDataError, match="embedding or patches"):
        LinearProbe(features="pixels")
