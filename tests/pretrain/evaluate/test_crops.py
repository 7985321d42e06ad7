"""Pictures are cut and resized as a loader says."""

import numpy as np
import pytest
import torch

from pretrain.clips.augmentation import central_crop, crop_frames
from pretrain.evaluate.crops import all_crops, main_crop, show
from pretrain.evaluate.loader import LoaderConfig


def corners(height: int, width: int, **settings) -> list[tuple[int, int, int, int]]:
    crops = all_crops(height, width, LoaderConfig(**settings))
    return [(crop.top, crop.left, crop.height, crop.width) for crop in crops]


def test_squares_lie_where_their_names_say():
    assert corners(6, 10) == [(0, 2, 6, 6)]
    assert corners(6, 10, crop="squash") == [(0, 0, 6, 10)]
    assert corners(6, 10, crop="three") == [(0, 0, 6, 6), (0, 2, 6, 6), (0, 4, 6, 6)]
    assert corners(10, 6, crop="three") == [(0, 0, 6, 6), (2, 0, 6, 6), (4, 0, 6, 6)]
    assert corners(8, 12, crop="five", crop_share=0.5) == [
        (0, 0, 4, 4), (0, 8, 4, 4), (4, 0, 4, 4), (4, 8, 4, 4), (2, 4, 4, 4),
    ]  # fmt: skip
    # Of a whole square there is one.
    assert corners(8, 8, crop="three") == corners(8, 8, crop="five") == [(0, 0, 8, 8)]


@pytest.mark.parametrize("crop", ["center", "squash", "three", "five"])
def test_the_main_part_is_one_of_all(crop):
    loader = LoaderConfig(crop=crop, crop_share=0.75)
    assert main_crop(12, 20, loader) in all_crops(12, 20, loader)


def test_the_default_shows_what_training_shows():
    frames = np.random.default_rng(0).integers(0, 256, (2, 12, 20, 3), np.uint8)
    crop = main_crop(12, 20, LoaderConfig())
    assert crop == central_crop(12, 20)
    shown = show(frames, crop, 8, LoaderConfig())
    assert torch.equal(shown, crop_frames(frames, crop, 8))


def test_resizing_differs_as_it_is_told():
    # One bright column of sixteen: antialiasing spreads it, without it it may be passed over.
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    frames[:, :, 0] = 240
    crop = central_crop(16, 16)

    def row(**settings) -> list[int]:
        return show(frames, crop, 4, LoaderConfig(**settings))[0, 0, :, 0].tolist()

    assert row(resampling="bilinear") == [0, 0, 0, 0]  # samples lie between columns 1 and 2
    assert row(resampling="antialiased")[0] > 20
    assert row(resampling="bicubic")[0] > row(resampling="antialiased")[0]
    # By way of 8 pixels the column is averaged first.
    assert row(resampling="bilinear", side=8)[0] == 60
    assert show(frames, crop, 4, LoaderConfig(side=8)).dtype == torch.uint8
