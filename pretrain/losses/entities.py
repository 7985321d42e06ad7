"""Entities against boxes: what a group of patches covers is held to the box of one thing.

HENASY (arXiv 2406.00307) holds its entities to boxes of a detector by projection. Its code was
never published; the form here is that of BoxInst (Tian et al., arXiv 2012.02310), and our choice: a
mask and a box must cast the same shadow on either axis of the frame, so that a box teaches where a
thing ends and leaves open which pixels inside are its own.
"""

import torch

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses.distributed import global_mean
from pretrain.losses.matching import assign
from pretrain.losses.region import RegionTarget


def projection_loss(
    masks: torch.Tensor, grid: tuple[int, int], target: RegionTarget
) -> torch.Tensor:
    """Mean over labeled clips of how far entities' shadows are from those of boxes.

    Hands and objects get an entity each, for all frames of a clip, in the order that costs least.
    What a thing costs with an entity is the mean, over the frames that it is in, of 1 - dice of the
    two shadows on either axis.

    Args:
        masks: float (B, T, L, E), the share of each patch that belongs to each entity, in [0, 1].
        grid: rows and columns of L.
        target: boxes by role, of at most E roles.

    Returns:
        A scalar, see :mod:`pretrain.losses`; 0 if no clip is labeled.

    Raises:
        ModelInputError: masks and target do not belong together.
    """
    rows, columns = grid
    batch, frames, roles = target.present.shape
    if masks.shape[:3] != (batch, frames, rows * columns) or roles > masks.shape[3]:
        raise ModelInputError(
            f"Expected masks ({batch}, {frames}, {rows * columns}, {roles} or more), got "
            f"{tuple(masks.shape)}."
        )
    cells = masks.float().unflatten(2, grid)
    costs = masks.new_zeros((batch, frames, roles, masks.shape[3]), dtype=torch.float32)
    for axis, size in enumerate((columns, rows)):
        # The shadow on the columns is the largest share in each column, and so on.
        shadow = cells.amax(dim=2 + axis)
        wanted = _covered(target.boxes[..., axis], target.boxes[..., axis + 2], size)
        costs = costs + 1 - _dice(shadow, wanted)
    present = target.present[..., None]
    seen = target.present.sum(dim=1)
    by_thing = torch.where(present, costs, 0.0).sum(dim=1) / seen.clamp(min=1)[..., None]
    wanted_things = seen > 0
    chosen = assign(by_thing, wanted_things)
    matched = by_thing.gather(2, chosen[..., None])[..., 0]
    count = wanted_things.sum(dim=1)
    by_clip = torch.where(wanted_things, matched, 0.0).sum(dim=1) / count.clamp(min=1)
    return global_mean(by_clip, target.labeled & (count > 0))


def _covered(low: torch.Tensor, high: torch.Tensor, size: int) -> torch.Tensor:
    """The share of each of ``size`` cells between two places in [0, 1]: (...) -> (..., size)."""
    edges = torch.arange(size, device=low.device) / size
    right = torch.minimum(high[..., None], edges + 1 / size)
    left = torch.maximum(low[..., None], edges)
    return ((right - left) * size).clamp(0, 1)


def _dice(shadow: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(B, T, size, E) and (B, T, R, size) -> (B, T, R, E), in [0, 1], 1 for equal flags."""
    common = wanted @ shadow
    whole = shadow.square().sum(dim=2)[:, :, None] + wanted.square().sum(dim=3)[..., None]
    return 2 * common / whole.clamp(min=torch.finfo(whole.dtype).eps)
