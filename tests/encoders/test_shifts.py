"""Shifted copies of demonstrated images: cached equal to live, deterministic, fit for histories."""

import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.history import history_windows
from egodtm_robot.encoders import features, make_encoder
from egodtm_robot.encoders.features import (
    FeaturePipeline,
    demonstration_features,
    embed_demonstrations,
    shifted_features,
)
from egodtm_robot.encoders.shifts import AugmentationConfig, EpisodeShift, shift_images

sys.path.append(str(Path(__file__).parent))
from test_features import CountingEncoder, episode, store  # noqa: F401

CAMERAS = ("left", "right")


def one_by_one(image, down, right):
    """Move a picture (H, W, 3), pixel for pixel."""
    height, width = image.shape[:2]
    moved = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            source = min(max(row - down, 0), height - 1), min(max(column - right, 0), width - 1)
            moved[row, column] = image[source]
    return moved


def test_images_are_moved_and_edges_repeated():
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 6, 3), dtype=np.uint8)
    offsets = np.array([[1, -2], [0, 0], [-4, 3]])
    moved = shift_images(images, offsets)
    for row, (down, right) in enumerate(offsets):
        for frame in range(2):
            expected = one_by_one(images[row, frame], down, right)
            np.testing.assert_array_equal(moved[row, frame], expected)
    np.testing.assert_array_equal(moved[1], images[1])
    assert moved.dtype == np.uint8


def test_an_episode_has_one_shift_and_copies_differ():
    shift = EpisodeShift(pixels=4, copy=0)
    episodes = np.repeat(np.arange(200), 3)
    offsets = shift.offsets(episodes)
    assert (offsets.reshape(200, 3, 2) == offsets.reshape(200, 3, 2)[:, :1]).all()
    assert set(np.unique(offsets)) == set(range(-4, 5))
    assert (EpisodeShift(4, 1).offsets(episodes) != offsets).any()
    # A store that grows keeps the shifts that it had.
    np.testing.assert_array_equal(shift.offsets(episodes[:30]), offsets[:30])


@pytest.mark.parametrize("history", [1, 3])
def test_what_is_cached_equals_what_is_computed_live(store, history, monkeypatch):  # noqa: F811
    monkeypatch.setattr(features, "_ROWS_A_COMMIT", 5)  # in several pieces
    encoder = CountingEncoder(history)
    shift = EpisodeShift(pixels=5, copy=1)
    cached = embed_demonstrations(store, encoder, CAMERAS, progress=False, shift=shift)
    lengths = np.diff(store.episode_offsets)
    offsets = shift.offsets(np.repeat(np.arange(len(lengths)), lengths))
    windows = history_windows(store.episode_offsets, history)
    frames = store.steps(slice(0, store.num_steps), ("rgb/left",))["rgb/left"]
    live = np.stack(
        [
            encoder.encode(np.stack([[one_by_one(frames[i], *offsets[step]) for i in window]]))[0]
            for step, window in enumerate(windows)
        ]
    )
    np.testing.assert_allclose(cached["left"], live, atol=1e-5)
    plain = embed_demonstrations(store, encoder, CAMERAS, progress=False)
    assert np.abs(plain["left"] - live).max() > 1e-3


def test_each_copy_is_embedded_once_and_the_plain_features_stay(store):  # noqa: F811
    encoder = CountingEncoder()
    pipeline, plain = demonstration_features(store, encoder, CAMERAS, progress=False)
    augmentation = AugmentationConfig(crops=2, pixels=3)
    before = encoder.encoded
    copies = shifted_features(store, pipeline, CAMERAS, augmentation, 2, progress=False)
    assert copies["left"].shape == (2, 10, *plain["left"].shape[1:])
    assert encoder.encoded - before == 2 * len(CAMERAS) * store.num_steps
    assert not np.array_equal(copies["left"][0], copies["left"][1])
    before = encoder.encoded
    again = shifted_features(store, pipeline, CAMERAS, augmentation, 2, progress=False)
    np.testing.assert_array_equal(again["right"], copies["right"])
    embedded = embed_demonstrations(store, encoder, CAMERAS, progress=False)
    np.testing.assert_array_equal(embedded["left"], plain["left"])
    assert encoder.encoded == before
    other = AugmentationConfig(crops=1, pixels=4)
    assert shifted_features(store, pipeline, CAMERAS, other, progress=False)
    assert encoder.encoded == before + len(CAMERAS) * store.num_steps, "other pixels, other copies"


def test_a_store_that_grew_has_its_copies_embedded_from_where_they_end(store):  # noqa: F811
    encoder = CountingEncoder()
    shift = EpisodeShift(pixels=4, copy=0)
    first = embed_demonstrations(store, encoder, CAMERAS, progress=False, shift=shift)
    store.append_episode(episode(6, 9, CAMERAS))
    before = encoder.encoded
    grown = embed_demonstrations(store, encoder, CAMERAS, progress=False, shift=shift)
    assert encoder.encoded - before == 2 * 6
    np.testing.assert_array_equal(grown["left"][:-6], first["left"])


def test_an_encoder_without_images_is_refused(store):  # noqa: F811
    oracle = make_encoder("oracle")
    assert shifted_features(store, FeaturePipeline(oracle), (), AugmentationConfig()) == {}
    with pytest.raises(
        ConfigurationError, match=r"augmentation\.crops=0 for encoder oracle.*got 2"
    ):
        shifted_features(store, FeaturePipeline(oracle), (), AugmentationConfig(crops=2))
