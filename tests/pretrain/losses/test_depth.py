"""The depth losses against their formulas, one pixel at a time."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses import DepthLossConfig, DepthTarget, depth_loss, depth_target
from pretrain.losses.depth import (
    chamfer,
    gradient_difference,
    scale_invariant_log,
    squared_error,
)
from pretrain.model.depth_decoder import DepthPrediction

SHAPE = (3, 2, 5, 6)


def batch(seed: int = 0, known: float = 0.7) -> tuple[torch.Tensor, DepthTarget]:
    """A prediction and a target with holes; the last clip has no depth at all."""
    generator = torch.Generator().manual_seed(seed)
    depth, truth, chance = torch.rand(3, *SHAPE, generator=generator, dtype=torch.float64)
    valid = chance < known
    valid[2] = False
    return depth, DepthTarget(torch.where(valid, truth, 0.0), valid)


def slow_squared_error(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    errors = [(depth[p] - truth[p]) ** 2 for p in np.ndindex(*depth.shape) if valid[p]]
    return sum(errors) / len(errors)


def slow_log(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    errors = [
        math.log(depth[p] + 0.05) - math.log(truth[p] + 0.05)
        for p in np.ndindex(*depth.shape)
        if valid[p]
    ]
    mean = sum(errors) / len(errors)
    return sum(e**2 for e in errors) / len(errors) - mean**2 / 2


def slow_gradient(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    total = 0.0
    frames, height, width = depth.shape
    for stride in (1, 2, 4, 8):
        for down, right in ((0, stride), (stride, 0)):
            found = []
            for t in range(frames):
                for y in range(0, height - down, stride):
                    for x in range(0, width - right, stride):
                        here, there = (t, y, x), (t, y + down, x + right)
                        if valid[here] and valid[there]:
                            errors = [depth[p] - truth[p] for p in (here, there)]
                            found.append(abs(errors[1] - errors[0]))
            total += sum(found) / len(found) if found else 0.0
    return total


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (squared_error, slow_squared_error),
        (scale_invariant_log, slow_log),
        (gradient_difference, slow_gradient),
    ],
)
def test_each_part_is_its_formula(fast: Callable[..., torch.Tensor], slow: Callable[..., float]):
    depth, target = batch()
    found = fast(depth, target)
    for clip in range(2):
        arrays = (depth[clip].numpy(), target.depth[clip].numpy(), target.valid[clip].numpy())
        assert float(found[clip]) == pytest.approx(slow(*arrays), abs=1e-12)
    assert float(found[2]) == 0


def test_chamfer_is_its_formula():
    _, target = batch()
    centers = torch.rand(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = chamfer(centers, target)
    for clip in range(2):
        depths = [
            float(target.depth[clip][p]) for p in np.ndindex(*SHAPE[1:]) if target.valid[clip][p]
        ]
        there = [min((float(c) - d) ** 2 for d in depths) for c in centers[clip]]
        back = [min((float(c) - d) ** 2 for c in centers[clip]) for d in depths]
        expected = sum(there) / len(there) + sum(back) / len(back)
        assert float(found[clip]) == pytest.approx(expected, abs=1e-12)
    assert float(found[2]) == 0


@pytest.mark.parametrize("part", ["mse", "scale_invariant_log", "gradient", "chamfer"])
def test_gradients_are_those_of_finite_differences(part: str):
    depth, target = batch()
    centers = torch.rand(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    config = DepthLossConfig(**{"mse": 0.0, part: 1.0})

    def loss(depth: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
        return depth_loss([DepthPrediction(depth, centers)], target, config)

    assert torch.autograd.gradcheck(
        loss, (depth.requires_grad_(), centers.requires_grad_()), atol=1e-4
    )


def test_layers_are_summed_parts_weighted_and_clips_without_depth_not_counted():
    depth, target = batch()
    centers = torch.full((3, 4), 0.5, dtype=torch.float64)
    config = DepthLossConfig(mse=2.0, gradient=0.5, scale_invariant_log=0.25, chamfer=0.1)
    layers = [DepthPrediction(depth, centers), DepthPrediction(depth**2, centers)]
    expected = sum(
        2.0 * squared_error(layer.depth, target)[:2].mean()
        + 0.5 * gradient_difference(layer.depth, target)[:2].mean()
        + 0.25 * scale_invariant_log(layer.depth, target)[:2].mean()
        + 0.1 * chamfer(centers, target)[:2].mean()
        for layer in layers
    )
    torch.testing.assert_close(depth_loss(layers, target, config), expected)


def test_a_batch_without_depth_costs_nothing_and_pulls_nowhere():
    depth, target = batch(known=-1.0)
    depth.requires_grad_()
    config = DepthLossConfig(1.0, 1.0, 1.0, 1.0)
    prediction = DepthPrediction(depth, torch.full((3, 4), 0.5, dtype=torch.float64))
    loss = depth_loss([prediction], target, config)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, [depth])
    assert not gradient.any()


def test_a_batch_of_one_equals_its_part_of_a_batch():
    depth, target = batch()
    config = DepthLossConfig()
    alone = [
        depth_loss(
            [DepthPrediction(depth[i : i + 1], depth[i : i + 1, 0, 0])],
            DepthTarget(target.depth[i : i + 1], target.valid[i : i + 1]),
            config,
        )
        for i in range(2)
    ]
    together = depth_loss([DepthPrediction(depth, depth[:, 0, 0])], target, config)
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)


def test_targets_lie_in_the_unit_interval_whatever_scale_and_shift_depth_has():
    depth = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) + 0.4
    target = depth_target(depth, (8, 8))
    assert target.depth.shape == (2, 3, 8, 8)
    assert target.valid.all()
    assert target.depth.amin(dim=(1, 2, 3)).tolist() == [0, 0]
    assert target.depth.amax(dim=(1, 2, 3)).tolist() == [1, 1]
    torch.testing.assert_close(depth_target(depth * 7 + 3, (8, 8)).depth, target.depth)


def test_one_far_pixel_does_not_squeeze_the_rest():
    depth = torch.linspace(1, 2, 1024).reshape(1, 1, 32, 32).clone()
    before = depth_target(depth, (32, 32)).depth
    depth[0, 0, 5, 5] = 1000.0
    after = depth_target(depth, (32, 32)).depth
    assert (after - before).abs().flatten().quantile(0.99) < 0.01


def test_cells_average_known_pixels_and_need_half_of_them():
    depth = torch.arange(16.0).reshape(1, 1, 4, 4).clone()
    depth[0, 0, 0, 0] = torch.nan  # three of four remain in the first cell
    depth[0, 0, 2:, 2:] = torch.inf  # none in the last
    depth[0, 0, 0, 2:] = torch.nan  # two of four in the second
    depth[0, 0, 1, 2] = torch.nan  # one of four in the second
    target = depth_target(depth, (2, 2))
    assert target.valid[0, 0].tolist() == [[True, False], [True, False]]
    # The means 10 / 3 and 10.5 are the clip's smallest and largest.
    assert target.depth[0, 0].tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("value", [float("nan"), 2.0])
def test_maps_without_depth_or_without_relief_give_no_nan(value: float):
    target = depth_target(torch.full((1, 2, 8, 8), value), (4, 4))
    assert target.depth.isfinite().all()
    assert bool(target.valid.any()) == (value == 2.0)


def test_shapes_that_do_not_fit_are_refused():
    depth, target = batch()
    with pytest.raises(ModelInputError, match="grid"):
        depth_loss([DepthPrediction(depth[..., :3], depth[:, 0, 0])], target, DepthLossConfig())
    with pytest.raises(ModelInputError, match=r"\(B, T, H, W\)"):
        depth_target(depth[0], (4, 4))
