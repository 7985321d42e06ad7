"""Antialiased resizing adds as torch does, so that no gray level differs in another runtime."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from egodtm_robot.core.graphs.resizing import neighbors


def resized(images: np.ndarray, target: int, mode: str) -> np.ndarray:
    """What the written operators compute along the last axis, in numpy."""
    total = None
    for places, weights, once in zip(*neighbors(images.shape[-1], target, mode), strict=True):
        pixels = images[..., places]
        if total is None:
            total = pixels * weights
            continue
        exact = pixels.astype(np.float64) * weights.astype(np.float64) + total.astype(np.float64)
        total = np.where(once, exact.astype(np.float32), total + pixels * weights)
    assert total is not None
    return total


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("size", "target"), [(112, 128), (96, 112), (128, 112), (320, 112), (240, 224), (224, 112)]
)
def test_gray_levels_are_those_of_torch(mode: str, size: int, target: int) -> None:
    generator = np.random.default_rng(size)
    levels = generator.integers(0, 256, (1, 3, 40, size)).astype(np.float32)
    images = torch.from_numpy(levels).contiguous(memory_format=torch.channels_last)
    expected = functional.interpolate(images, (40, target), mode=mode, antialias=True)
    found = resized(levels, target, mode)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4)
    differing = np.round(found) != np.round(expected.numpy())
    # All are equal where torch's kernel was compiled as for x86; elsewhere ties may fall otherwise.
    assert differing.mean() <= (0 if torch.backends.cpu.get_cpu_capability()[:3] == "AVX" else 1e-3)
