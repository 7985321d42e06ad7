"""Held-out clips are shown as training data is, without its randomness."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import DatasetError
from pretrain.clips import ClipStore
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec
from pretrain.evaluate.clips import PIECE, EvaluationClips
from pretrain.evaluate.model import ModelAnswerError

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ClipStore:
    return ClipStore.open(make_store(tmp_path_factory.mktemp("clips") / "store", range(PIECE + 9)))


class Counting:
    """Embeds a clip as its mean colors; counts what it is asked."""

    name, fingerprint, frames, resolution = "counting", "counting-1", None, 24

    def __init__(self):
        self.videos = self.texts = 0

    def encode_video(self, frames):
        self.videos += len(frames)
        return frames.float().mean(dim=(1, 2, 3))

    def encode_text(self, texts):
        self.texts += len(texts)
        return torch.tensor([[len(text), text.count("red"), 1.0] for text in texts])

    def to(self, device):
        return self


def test_frames_depth_and_boxes_are_those_of_the_training_data_set(store):
    chosen = np.array([4, 2, 40])
    spec = SampleSpec(resolution=24, depth_size=(6, 6), boxes=True)
    batch = ClipDataset(store, spec, clips=chosen).batch([Draw(0), Draw(1), Draw(2)])
    data = EvaluationClips(store, chosen, resolution=24)
    assert torch.equal(data.frames(range(3)), batch.frames)
    assert torch.equal(data.depth(range(3), (6, 6)), batch.depth)
    for found, boxes in zip(data.boxes(range(3)), batch.boxes, strict=True):
        np.testing.assert_array_equal(found.xyxy, boxes.xyxy)
        np.testing.assert_array_equal(found.frame, boxes.frame)
    assert data.depth_unit == "m"
    assert data.videos([0]) == ["slope 4"]


def test_a_model_of_fewer_frames_sees_those_at_the_middles_of_equal_parts(store):
    whole = EvaluationClips(store, resolution=32)
    two = EvaluationClips(store, resolution=32, frames=2)
    assert torch.equal(two.frames([5]), whole.frames([5])[:, [1, 3]])
    assert torch.equal(two.depth([5], (8, 8)), whole.depth([5], (8, 8))[:, [1, 3]])
    (boxes,), (all_boxes,) = two.boxes([5]), whole.boxes([5])
    assert boxes.frame.tolist() == [0, 1]
    np.testing.assert_array_equal(boxes.xyxy, all_boxes.xyxy[[1, 3]])
    assert two.fingerprint != whole.fingerprint
    # More frames than there are: all of them.
    assert torch.equal(
        EvaluationClips(store, resolution=32, frames=9).frames([5]), whole.frames([5])
    )


def test_the_same_clips_are_the_same_tensor_and_the_next_piece_is_read_ahead(store):
    data = EvaluationClips(store, resolution=24)
    first = data.frames(data.piece(0))
    assert data.frames(data.piece(0)) is first
    assert torch.equal(data.frames(data.piece(1)), data.frames(range(PIECE, PIECE + 9)))
    assert list(data.piece(2)) == []


def test_each_embedding_is_computed_once_a_model(store):
    data, model = EvaluationClips(store, resolution=24), Counting()
    found = data.embed_videos(model, [40, 0, 3, 0])
    assert model.videos == PIECE + 9  # both pieces, whole
    np.testing.assert_array_equal(found[1], found[3])
    expected = data.frames([3]).float().mean(dim=(1, 2, 3))[0].numpy()
    np.testing.assert_allclose(found[2], expected)
    data.embed_videos(model, range(len(data)))
    assert model.videos == PIECE + 9
    texts = data.embed_texts(model, ["red", "blue", "red"])
    assert (texts[:, 0].tolist(), model.texts) == ([3, 4, 3], 2)
    other = Counting()
    data.embed_videos(other, [0])
    assert other.videos == PIECE


def test_embeddings_of_another_form_are_refused(store, monkeypatch):
    data = EvaluationClips(store, resolution=24)
    data.embed_videos(narrow := Counting(), [0])
    monkeypatch.setattr(narrow, "encode_text", lambda texts: torch.ones(len(texts), 2))
    with pytest.raises(ModelAnswerError, match=r"encode_text .* \(1, 3\).*got \(1, 2\)"):
        data.embed_texts(narrow, ["a red square"])
    short = Counting()
    monkeypatch.setattr(short, "encode_video", lambda frames: torch.ones(1, 3))
    with pytest.raises(ModelAnswerError, match=r"\(32, 3\) for 32 inputs"):
        data.embed_videos(short, [0])


def test_embeddings_are_kept_by_the_fingerprints_of_model_and_clips(store, tmp_path):
    def embed(model, **options):
        data = EvaluationClips(store, resolution=24, cache=tmp_path, **options)
        return data.embed_videos(model, range(3)), data.embed_texts(model, ["red"])

    first, again, changed, shorter = Counting(), Counting(), Counting(), Counting()
    kept = embed(first)
    for one, other in zip(embed(again), kept, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (again.videos, again.texts) == (0, 0)
    changed.fingerprint = "counting-2"
    embed(changed)
    assert (changed.videos, changed.texts) == (PIECE, 1)
    embed(shorter, frames=2)
    assert (shorter.videos, shorter.texts) == (PIECE, 0)
    # A file cut short by a full disk is computed again.
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:90])
    damaged = Counting()
    embed(damaged)
    assert damaged.videos == PIECE


def test_clips_that_do_not_fit_together_are_refused(store):
    with pytest.raises(DatasetError, match="at least one clip"):
        EvaluationClips(store, np.array([], np.int64), resolution=24)
