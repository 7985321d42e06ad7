import numpy as np
import pytest
import torch

from pretrain.clips.dataset import ClipBatch
from pretrain.evaluate.depth import align, depth_scores, mean_map
from pretrain.losses import depth_target


def slow_scores(prediction, truth):
    """Normal equations and definitions, cell by cell."""
    pairs = [
        (float(p), float(t))
        for p, t in zip(prediction.ravel(), truth.ravel(), strict=True)
        if not np.isnan(t)
    ]
    system = np.array([[p, 1.0] for p, _ in pairs])
    scale, shift = np.linalg.lstsq(system, np.array([t for _, t in pairs]), rcond=None)[0]
    good, squares, shares = 0, 0.0, 0.0
    for p, t in pairs:
        found = max(scale * p + shift, 1e-3)
        good += max(found / t, t / found) < 1.25
        squares += (found - t) ** 2
        shares += abs(found - t) / t
    return good / len(pairs), (squares / len(pairs)) ** 0.5, shares / len(pairs)


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_their_definitions(seed):
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0.3, 4, (4, 6, 5)).astype(np.float32)
    prediction = (truth * 0.2 + generator.normal(0, 0.3, truth.shape)).astype(np.float32)
    truth[generator.random(truth.shape) < 0.2] = np.nan
    np.testing.assert_allclose(
        depth_scores(prediction, truth), slow_scores(prediction, truth), rtol=1e-5
    )


def test_scale_and_shift_of_a_clip_do_not_count():
    truth = np.random.default_rng(0).uniform(0.5, 3, (2, 4, 4))
    np.testing.assert_allclose(depth_scores(truth * 0.1 + 7, truth), [1, 0, 0], atol=1e-9)


def test_a_flat_prediction_is_the_mean():
    truth = np.array([[[1.0, 3.0]]])
    np.testing.assert_allclose(align(np.full(2, 0.3), truth.ravel()), 2.0)
    np.testing.assert_allclose(depth_scores(np.full((1, 1, 2), 0.3), truth), [0, 1, 2 / 3])


def test_clips_without_depth_have_no_score():
    assert np.isnan(depth_scores(np.zeros((1, 2, 2)), np.full((1, 2, 2), np.nan))).all()


def test_the_mean_map_is_the_mean_of_known_targets():
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand((6, 2, 4, 4), generator=generator)
    depth[1] = torch.nan
    depth[2, :, 0] = torch.nan
    batches = [
        ClipBatch(
            torch.zeros(len(part), 2, 8, 8, 3, dtype=torch.uint8),
            torch.zeros(len(part), 77, dtype=torch.int64),
            part,
            None,
            torch.arange(len(part)),
        )
        for part in depth.split(4)
    ]
    target = depth_target(depth, (4, 4))
    masked = np.ma.masked_array(target.depth.numpy(), ~target.valid.numpy())
    np.testing.assert_allclose(mean_map(batches, (4, 4)), masked.mean(axis=(0, 1)), atol=1e-6)
