import numpy as np
import pytest
import torch

from pretrain.evaluate.depth import Depth, align, depth_scores, mean_map
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
    target = depth_target(depth, (4, 4))
    masked = np.ma.masked_array(target.depth.numpy(), ~target.valid.numpy())
    np.testing.assert_allclose(
        mean_map(depth.split(4), (4, 4)), masked.mean(axis=(0, 1)), atol=1e-6
    )


def records(scores):
    return [
        {"item": row, "clip": f"clip/{row}", "video": f"video {row}", "unit": "m", "scores": one}
        for row, one in enumerate(scores)
    ]


def test_the_task_is_the_mean_over_clips_whose_depth_is_known():
    scores = np.array([[0.9, 0.2, 0.1], [np.nan] * 3, [0.5, 0.4, 0.3]])
    found = Depth().score(records(scores))
    plain = found.plain()
    np.testing.assert_allclose(
        [plain[name] for name in ("delta1", "rmse", "absrel")], [0.7, 0.3, 0.2]
    )
    assert (plain["clips"], plain["unit"]) == (2, "m")
    assert [row["item"] for row in found.outcomes] == [0, 2]
    assert found.headline.value == plain["delta1"]
    assert Depth().score(records(scores[1:2])) is None
