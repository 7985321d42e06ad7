"""Depth estimation on [0, 1], at the decoder's grid.

The published normalization of targets is not known; ours is in :func:`depth_target`. Every layer's
prediction is supervised and the layers' losses are summed: the published loss starts at 0.29, which
is six times the error of an untrained prediction on [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses.distributed import global_mean
from pretrain.model.depth_decoder import DepthPrediction

_LOWEST, _HIGHEST = 0.01, 0.99
"""Quantiles of a clip's depth that become 0 and 1: one far pixel must not squeeze all others."""

_LOG_OFFSET = 0.05
"""Added before logarithms are taken on [0, 1]: the nearest pixels have depth 0."""

_VARIANCE_SHARE = 0.5
"""Share of the mean logarithmic error that is forgiven (Eigen et al.)."""

_SCALES = 4
"""Scales of the gradient term: strides 1, 2, 4 and 8."""


@dataclass
class DepthLossConfig:
    """Weights of the parts of the depth loss."""

    mse: float = 1.0
    """Squared error on [0, 1], the published loss."""

    scale_invariant_log: float = 0.0
    """Squared error of logarithms minus half of the squared mean error."""

    gradient: float = 0.0
    """Differences of the error between neighbors at four scales: sharper edges."""

    chamfer: float = 0.0
    """Squared distances between bin centers and depths; 0.1 in the published code's defaults."""


@dataclass
class DepthTarget:
    """What predictions are compared with.

    Attributes:
        depth: float32 (B, T, h, w) in [0, 1]; 0 where not valid.
        valid: bool (B, T, h, w), where depth is known.
    """

    depth: torch.Tensor
    valid: torch.Tensor


def depth_target(depth: torch.Tensor, size: tuple[int, int]) -> DepthTarget:
    """Bring depth maps to the decoder's grid and to [0, 1].

    A cell is the mean of the known pixels in it, and is valid if they are at least half of them.
    Depth is shifted and scaled so that the 1st and the 99th hundredth of the clip's cells become 0
    and 1, and is cut off beyond: one scale for all frames, so that motion towards the camera stays
    visible.

    Args:
        depth: float (B, T, H, W), near is small, not finite where unknown; a clip without depth is
            all NaN.
        size: (h, w) of the predictions.

    Raises:
        ModelInputError: another number of axes.
    """
    if depth.ndim != 4:
        raise ModelInputError(f"Expected depth (B, T, H, W), got shape {tuple(depth.shape)}.")
    known = depth.isfinite()
    cells = functional.adaptive_avg_pool2d(torch.where(known, depth, 0.0).float(), size)
    share = functional.adaptive_avg_pool2d(known.float(), size)
    valid = share >= 0.5
    cells = cells / share.clamp(min=0.5)
    flat = torch.where(valid, cells, torch.nan).flatten(1)
    edges = torch.tensor([_LOWEST, _HIGHEST], device=depth.device)
    low, high = torch.nanquantile(flat, edges, dim=1).nan_to_num(0.0)[:, :, None, None, None]
    normalized = (cells - low) / (high - low).clamp(min=1e-6)
    return DepthTarget(torch.where(valid, normalized.clamp(0, 1), 0.0), valid)


def depth_loss(
    predictions: Sequence[DepthPrediction], target: DepthTarget, config: DepthLossConfig
) -> torch.Tensor:
    """Sum over layers of the weighted parts, each a mean over the clips that have depth.

    Args:
        predictions: of all layers.
        target: of the same clips; those without any valid pixel do not count.
        config: weights.

    Returns:
        A scalar, see :mod:`pretrain.losses`; 0 if no clip has depth.

    Raises:
        ModelInputError: predictions and target differ in shape.
    """
    counted = target.valid.flatten(1).any(dim=1)
    total = target.depth.new_zeros(())
    for prediction in predictions:
        depth = prediction.depth
        if depth.shape != target.depth.shape:
            raise ModelInputError(
                f"Expected depth targets of shape {tuple(depth.shape)}, got "
                f"{tuple(target.depth.shape)}; depth_target brings them to the grid."
            )
        clips = depth.new_zeros(len(depth))
        if config.mse:
            clips = clips + config.mse * squared_error(depth, target)
        if config.scale_invariant_log:
            clips = clips + config.scale_invariant_log * scale_invariant_log(depth, target)
        if config.gradient:
            clips = clips + config.gradient * gradient_difference(depth, target)
        if config.chamfer:
            clips = clips + config.chamfer * chamfer(prediction.centers, target)
        total = total + global_mean(clips, counted)
    return total


def squared_error(depth: torch.Tensor, target: DepthTarget) -> torch.Tensor:
    """Mean squared error over a clip's valid pixels: (B, T, h, w) -> (B,)."""
    return _clip_mean((depth - target.depth) ** 2, target.valid)


def scale_invariant_log(depth: torch.Tensor, target: DepthTarget) -> torch.Tensor:
    """mean(d^2) - mean(d)^2 / 2 of d = log prediction - log target: (B, T, h, w) -> (B,)."""
    error = torch.log(depth + _LOG_OFFSET) - torch.log(target.depth + _LOG_OFFSET)
    mean = _clip_mean(error, target.valid)
    return _clip_mean(error**2, target.valid) - _VARIANCE_SHARE * mean**2


def gradient_difference(depth: torch.Tensor, target: DepthTarget) -> torch.Tensor:
    """Absolute differences of the error between neighbors at four scales: -> (B,).

    For each scale the mean over pairs of pixels that are both valid; axes and scales are summed.
    """
    error, valid = depth - target.depth, target.valid
    total = depth.new_zeros(len(depth))
    for scale in range(_SCALES):
        stride = 2**scale
        part, known = error[..., ::stride, ::stride], valid[..., ::stride, ::stride]
        across = (part[..., :, 1:] - part[..., :, :-1]).abs()
        down = (part[..., 1:, :] - part[..., :-1, :]).abs()
        total = total + _clip_mean(across, known[..., :, 1:] & known[..., :, :-1])
        total = total + _clip_mean(down, known[..., 1:, :] & known[..., :-1, :])
    return total


def chamfer(centers: torch.Tensor, target: DepthTarget) -> torch.Tensor:
    """Squared distances to the nearest, from centers to depths and back: (B, Q) -> (B,)."""
    depths, valid = target.depth.flatten(1), target.valid.flatten(1)
    distances = (centers[:, :, None] - depths[:, None]) ** 2
    to_center = _clip_mean(distances.amin(dim=1), valid)
    to_depth = distances.masked_fill(~valid[:, None], torch.inf).amin(dim=2)
    # Without any valid pixel there is nothing near.
    to_depth = torch.where(valid.any(dim=1)[:, None], to_depth, 0.0)
    return to_center + to_depth.mean(dim=1)


def _clip_mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean over what is valid of each clip: (B, ...) -> (B,); 0 where nothing is."""
    count = valid.flatten(1).sum(dim=1).clamp(min=1)
    return torch.where(valid, values, 0.0).flatten(1).sum(dim=1) / count
